"""`poolkeeper deploy` and `doctor` as a person runs them, on servers that are well and servers that are not."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.processes import free_port
from tests.rest import Rest, unique, wait_for
from tests.servers import prefect_environment, running_server

POOLKEEPER = str(Path(sys.executable).parent / "poolkeeper")
INVENTORY = "/deployments/name/pool-inventory/management"


def poolkeeper(command: str, environment: dict[str, str], **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POOLKEEPER, *command.split()],
        check=False,
        env=environment | changed,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def deployed(environment: dict[str, str], server: str) -> str:
    """A server with everything on it; the output of the deploy that put it there."""
    done = poolkeeper("deploy", environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server in environment["PREFECT_API_URL"]
    return done.stdout


@pytest.fixture
def worker(rest: Rest, deployed: str) -> None:  # noqa: ARG001
    rest.worker("management")


def own_things(rest: Rest) -> dict[str, Any]:
    deployment = rest.read(INVENTORY)
    return {
        "pool": rest.read("/work_pools/management"),
        "deployment": deployment,
        "automations": rest.ask("/automations/filter"),
    }


def inventory_automation(rest: Rest) -> dict[str, Any]:
    (found,) = [each for each in rest.ask("/automations/filter") if "lost its workers" in each["name"]]
    return dict(found)


def test_puts_pool_deployment_and_automation_onto_a_server(deployed: str, rest: Rest) -> None:
    assert "work pool management: created" in deployed
    pool = rest.read("/work_pools/management")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 4)
    deployment = rest.read(INVENTORY)
    assert deployment["work_pool_name"] == "management"
    assert deployment["tags"] == ["poolkeeper"]
    assert deployment["schedules"][0]["schedule"]["cron"] == "*/15 * * * *"
    automation = inventory_automation(rest)
    assert automation["actions"][0]["deployment_id"] == deployment["id"]


@pytest.mark.usefixtures("deployed")
def test_changes_nothing_when_deployed_again(environment: dict[str, str], rest: Rest) -> None:
    before = own_things(rest)
    done = poolkeeper("deploy", environment)
    assert done.returncode == 0, done.stdout
    assert own_things(rest) == before
    assert "created" not in done.stdout
    assert "updated" not in done.stdout


@pytest.mark.usefixtures("deployed")
def test_an_automation_that_a_person_paused_stays_paused_and_keeps_its_id(
    environment: dict[str, str], rest: Rest
) -> None:
    automation = inventory_automation(rest)
    changed = {key: automation[key] for key in ("name", "trigger", "actions")} | {"description": "otherwise"}
    rest.put(f"/automations/{automation['id']}", json=changed | {"enabled": False}).raise_for_status()
    assert "updated" in poolkeeper("deploy", environment).stdout
    after = inventory_automation(rest)
    assert (after["id"], after["enabled"]) == (automation["id"], False)
    assert after["description"] == automation["description"]
    rest.patch(f"/automations/{automation['id']}", json={"enabled": True}).raise_for_status()


@pytest.mark.usefixtures("deployed")
def test_a_notification_is_switched_on_by_a_block_named_poolkeeper(environment: dict[str, str], rest: Rest) -> None:
    kind = rest.read("/block_types/slug/slack-webhook")
    (schema, *_) = rest.ask("/block_schemas/filter", block_schemas={"block_type_id": {"any_": [kind["id"]]}})
    block = rest.ask(
        "/block_documents/",
        name="poolkeeper",
        block_type_id=kind["id"],
        block_schema_id=schema["id"],
        data={"url": "https://example.invalid/secret-part"},
    )
    done = poolkeeper("deploy", environment).stdout
    assert "tell Slack what was done: created" in done
    assert "mail what was done: waits for a block sendgrid-email/poolkeeper" in done
    (made,) = [each for each in rest.ask("/automations/filter") if "tell Slack" in each["name"]]
    assert [action["block_document_id"] for action in made["actions"]] == [block["id"]]
    told = poolkeeper("doctor", environment).stdout
    assert "tell Slack what was done: is as written" in told
    assert "mail what was done" not in told
    assert "secret-part" not in done + told


@pytest.mark.usefixtures("deployed")
def test_a_deployment_that_a_person_paused_stays_paused_through_an_update(
    environment: dict[str, str], rest: Rest
) -> None:
    deployment = rest.read(INVENTORY)
    rest.patch(f"/deployments/{deployment['id']}", json={"paused": True, "description": "old"}).raise_for_status()
    schedule = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    rest.patch(schedule, json={"active": False}).raise_for_status()
    assert "updated" in poolkeeper("deploy", environment).stdout
    after = rest.read(INVENTORY)
    assert after["description"] == deployment["description"]
    assert (after["id"], after["paused"]) == (deployment["id"], True)
    assert not after["schedules"][0]["active"]
    rest.patch(f"/deployments/{deployment['id']}", json={"paused": False}).raise_for_status()
    schedule = f"/deployments/{deployment['id']}/schedules/{after['schedules'][0]['id']}"
    rest.patch(schedule, json={"active": True}).raise_for_status()


@pytest.mark.usefixtures("deployed")
def test_adopts_a_management_pool_as_a_person_made_it(environment: dict[str, str], rest: Rest) -> None:
    rest.change_pool("management", concurrency_limit=9, description="ours")
    assert poolkeeper("deploy", environment).returncode == 0
    pool = rest.read("/work_pools/management")
    assert (pool["concurrency_limit"], pool["description"]) == (9, "ours")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    "parameters", [{"windowhours": 3}, {"window_hours": -1}, {"window_hours": 745}, {"pools": "x"}]
)
def test_bad_parameters_are_refused_before_a_run_exists(rest: Rest, parameters: dict[str, Any]) -> None:
    deployment = rest.read(INVENTORY)
    answer = rest.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": parameters})
    assert answer.status_code == 409
    assert next(iter(parameters)) in answer.text or str(next(iter(parameters.values()))) in answer.text


@pytest.mark.usefixtures("deployed", "worker")
def test_doctor_finds_a_server_well_that_is_well(environment: dict[str, str]) -> None:
    done = poolkeeper("doctor", environment)
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout
    assert "worker: online: worker" in done.stdout


@pytest.mark.usefixtures("deployed", "worker")
def test_doctor_says_what_is_wrong_and_what_to_do(environment: dict[str, str], rest: Rest) -> None:
    deployment = rest.read(INVENTORY)
    rest.change_pool("management", is_paused=True)
    rest.patch(f"/deployments/{deployment['id']}", json={"tags": ["changed"]}).raise_for_status()
    automation = inventory_automation(rest)
    rest.delete(f"/automations/{automation['id']}").raise_for_status()
    done = poolkeeper("doctor", environment)
    assert done.returncode == 1
    assert "✗ work pool management: is paused" in done.stdout
    assert "✗ deployment pool-inventory/management: is otherwise than written: tags" in done.stdout
    assert "✗ automation poolkeeper: a work pool lost its workers: is not there" in done.stdout
    assert "→ Run 'poolkeeper deploy'." in done.stdout
    rest.change_pool("management", is_paused=False)
    assert poolkeeper("deploy", environment).returncode == 0
    assert poolkeeper("doctor", environment).returncode == 0


def test_prefect_deploy_all_works_alone(environment: dict[str, str], deployed: str, rest: Rest) -> None:  # noqa: ARG001
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, check=False, env=environment, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert rest.read(INVENTORY)["entrypoint"] == "flows/inventory.py:inventory"
    assert "is otherwise than written" not in poolkeeper("doctor", environment).stdout


@pytest.mark.parametrize("command", ["deploy", "doctor", "up --once"])
def test_a_server_that_is_not_there_is_one_clear_message(command: str, environment: dict[str, str]) -> None:
    address = f"http://someone:c4n4ry@127.0.0.1:{free_port()}/api"
    done = poolkeeper(command, environment, PREFECT_API_URL=address)
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert "PREFECT_API_URL" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "c4n4ry" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["deploy", "doctor"])
def test_no_server_named_is_one_clear_message(command: str, environment: dict[str, str]) -> None:
    without = {name: value for name, value in environment.items() if name != "PREFECT_API_URL"}
    done = poolkeeper(command, without)
    assert done.returncode == 1
    assert "poolkeeper up" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a server that asks for a password."""
    environment = prefect_environment(tmp_path_factory.mktemp("guarded"), free_port())
    with running_server(environment | {"PREFECT_SERVER_API_AUTH_STRING": "admin:open-sesame"}, "--no-services"):
        yield environment


@pytest.mark.parametrize("changed", [{}, {"PREFECT_API_AUTH_STRING": "admin:c4n4ry"}, {"PREFECT_API_KEY": "c4n4ry"}])
@pytest.mark.parametrize("command", ["deploy", "doctor", "up --once"])
def test_wrong_credentials_are_one_clear_message(
    command: str, changed: dict[str, str], guarded: dict[str, str]
) -> None:
    done = poolkeeper(command, guarded, **changed)
    assert done.returncode == 1
    assert "does not accept the credentials (401)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "c4n4ry" not in done.stdout + done.stderr
    with Rest(guarded["PREFECT_API_URL"], auth=("admin", "open-sesame")) as rest:
        assert rest.ask("/work_pools/filter") == []


def test_deploys_to_a_server_with_the_right_credentials(guarded: dict[str, str]) -> None:
    done = poolkeeper("deploy", guarded, PREFECT_API_AUTH_STRING="admin:open-sesame")
    assert done.returncode == 0, done.stdout
    assert "open-sesame" not in done.stdout + done.stderr


class OtherServer(BaseHTTPRequestHandler):
    """Says it is a Prefect of another major version, or nothing that Prefect would say."""

    version: ClassVar[str | None] = "2.20.0"

    def do_GET(self) -> None:
        body = b"<html>hello</html>" if self.version is None else json.dumps(self.version).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("2.20.0", "Use a server of version 3.x"),
        ("4.0.0", "Use a server of version 3.x"),
        (None, "is not Prefect's API"),
    ],
)
def test_another_kind_of_server_is_one_clear_message(
    version: str | None, message: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OtherServer, "version", version)
    with HTTPServer(("127.0.0.1", 0), OtherServer) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        for command in ("deploy", "doctor"):
            done = poolkeeper(command, environment, PREFECT_API_URL=f"http://127.0.0.1:{other.server_port}/api")
            assert done.returncode == 1
            assert message in done.stdout
            assert "Traceback" not in done.stdout + done.stderr
        other.shutdown()


@pytest.mark.usefixtures("deployed")
def test_the_scheduler_makes_runs_of_the_inventory(rest: Rest) -> None:
    deployment = rest.read(INVENTORY)
    query = {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    wait_for(lambda: rest.ask("/flow_runs/count", **query), what="scheduled runs")


@pytest.mark.usefixtures("deployed")
def test_a_work_pool_that_becomes_not_ready_starts_an_inventory(rest: Rest) -> None:
    deployment = rest.read(INVENTORY)
    rest.pool(unique("not-ready"))

    def started() -> list[Any]:
        runs = rest.ask("/flow_runs/filter", flow_runs={"deployment_id": {"any_": [deployment["id"]]}})
        return [run for run in runs if (run["created_by"] or {}).get("type") == "AUTOMATION"]

    assert wait_for(started, what="a run that the automation started")

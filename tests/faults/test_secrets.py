"""A value that nobody may see stands wherever a secret can stand, and is looked for in everything that was written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from tests.api import drain
from tests.faults.forking import forking
from tests.faults.jobs import flow
from tests.faults.proxy import Proxy
from tests.rest import Rest, wait_for
from tests.server.test_commands import poolkeeper
from tests.servers import free_port, prefect_environment, running_server

pytestmark = [pytest.mark.anyio, pytest.mark.long]

CANARY = "c4n4ry-that-nobody-may-see"
# What people wrote there themselves, and where the keeper has to write a secret because it keeps or makes a pool.
WITH_SECRETS = ("/work_pools/", "/block_documents/", "/deployments/")
TEMPLATE = {
    "variables": {
        "type": "object",
        "properties": {
            "env": {"type": "object", "default": {"DB_PASSWORD": CANARY, "URL": f"postgres://u:{CANARY}@db/x"}},
            "api_token": {"type": "string", "default": CANARY},
            "secret": {"type": "string", "default": CANARY, "title": "x", "format": "password"},
        },
    },
    "job_configuration": {"env": "{{ env }}", "token": "{{ api_token }}", "password": CANARY},
}


@dataclass
class Vault:
    """A server that asks for credentials, with secrets everywhere, and what commands said in a terminal."""

    rest: Rest
    proxy: Proxy
    environment: dict[str, str]
    said: str = ""

    def command(self, words: str, **changed: str) -> int:
        done = poolkeeper(words, self.environment, **changed)
        self.said += done.stdout + done.stderr
        return done.returncode

    def written(self) -> str:
        """Everything that the keeper has left on the server, in whatever form people read it."""
        ask, everything = self.rest.ask, self.rest.everything
        ours = {"event": {"prefix": ["poolkeeper."]}}
        return json.dumps(
            [
                everything("/artifacts/filter"),
                everything("/logs/filter"),
                ask("/events/filter", filter=ours, limit=50),
                everything("/variables/filter"),
                everything("/flow_runs/filter"),
                everything("/task_runs/filter"),
                ask("/automations/filter"),
                everything("/block_documents/filter"),
                [row["description"] for row in everything("/work_pools/filter")],
            ]
        )

    def sent(self) -> str:
        """Everything that went from the keeper to the server, credentials in its headers apart."""
        bodies = [body for where, body in self.proxy.sent if not where.partition(" ")[2].startswith(WITH_SECRETS)]
        return b"\n".join(bodies).decode(errors="replace")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    auth = f"admin:{CANARY}"
    environment = prefect_environment(tmp_path_factory.mktemp("vault"), free_port())
    secrets = {"PREFECT_API_AUTH_STRING": auth, "DB_PASSWORD": CANARY, "HTTPS_PROXY": f"http://u:{CANARY}@127.0.0.1:9"}
    guarded = environment | {"PREFECT_SERVER_API_AUTH_STRING": auth}
    with (
        running_server(guarded) as url, Proxy(url).running() as proxy, Rest(url, auth=("admin", CANARY)) as rest,
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        settings = {
            PREFECT_API_URL: proxy.url, PREFECT_API_AUTH_STRING: auth, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }  # fmt: skip
        for name, value in secrets.items():
            patch.setenv(name, value)
        with temporary_settings(settings):
            yield Vault(rest, proxy, environment | secrets | {"PREFECT_API_URL": proxy.url})
            drain()


async def test_no_secret_is_in_anything_that_flows_and_commands_write(
    vault: Vault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rest = vault.rest
    rest.pool("etl", base_job_template=TEMPLATE, concurrency_limit=2)
    rest.pool("old", base_job_template=TEMPLATE)
    loads = rest.deployment("etl", job_variables={"env": {"DB_PASSWORD": CANARY}, "password": CANARY})
    kind = rest.read("/block_types/slug/secret")
    (schema, *_) = rest.ask("/block_schemas/filter", block_schemas={"block_type_id": {"any_": [kind["id"]]}})
    block = {"block_type_id": kind["id"], "block_schema_id": schema["id"], "data": {"value": CANARY}}
    rest.ask("/block_documents/", name="db-password", **block)
    for _ in range(4):
        rest.run(loads, "RUNNING", "FAILED")
    path = tmp_path / "pools.yaml"
    written = {"name": "new", "type": "process", "base_job_template": {"inline": TEMPLATE}}
    path.write_text(yaml.safe_dump({"version": 1, "pools": [written]}))
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump({"version": 1, "pools": [written | {"type": CANARY, "concurrency_limit": CANARY}]}))

    assert vault.command("deploy") == 0
    limits = {"max_share": 1.0, "max_actions": 100}
    by_hand = {"pool": "old", "reason": "moved away", "actor": "Ann"}
    told = []
    for entry, parameters in (
        ("inventory", {}),
        ("inventory", {"pools": ["etl"]}),
        ("preview", {}),
        ("auto_pause", {"threshold": {"minimum_runs": 4}, "limit": limits, "dry_run": False}),
        ("lifecycle", {"action": "pause", **by_hand}),
        ("lifecycle", {"action": "delete", **by_hand}),
        ("lifecycle", {"action": "restore", **by_hand}),
        ("cleanup", {"dry_run": False}),
        ("reconcile", {"spec": str(path)}),
        ("reconcile", {"spec": str(path), "dry_run": False}),
        ("reconcile", {"spec": str(path), "export": True}),
    ):
        state = await flow(entry)(**parameters, return_state=True)
        assert state.is_completed(), (entry, state.message)
        told.append(state.message)
    for entry, parameters in (
        ("reconcile", {"spec": str(bad)}),
        ("lifecycle", {"action": "delete", **by_hand, "pool": "gone"}),
        ("auto_pause", {"threshold": {"minimum_runs": CANARY}}),
    ):
        state = await flow(entry)(**parameters, return_state=True)
        assert state.is_failed()
        told.append(state.message if entry != "auto_pause" else "")
    assert vault.command("export") == 0
    vault.command("doctor")
    vault.command("restore")
    assert vault.command("restore poolkeeper-archive-none") == 1
    address = vault.proxy.url.replace("//", f"//u:{CANARY}@").replace(str(vault.proxy.port), str(free_port()))
    assert vault.command("doctor", PREFECT_API_URL=address) == 1
    assert vault.command("doctor", PREFECT_API_KEY=CANARY, PREFECT_API_AUTH_STRING=f"x:{CANARY}2") == 1
    drain()
    wait_for(lambda: "poolkeeper.pool.paused" in vault.written(), what="the events")
    assert rest.read("/work_pools/old")["base_job_template"] == TEMPLATE
    for where, text in (
        ("terminal", vault.said), ("server", without_own_words(vault.written())), ("sent", vault.sent()),
        ("messages", " ".join(told)), ("logs", caplog.text),
    ):  # fmt: skip
        at = text.find(CANARY)
        assert at < 0, f"{where}: …{text[max(0, at - 300) : at + 60]}…"


def without_own_words(text: str) -> str:
    """What a person wrote into a parameter stands in Prefect's own record of the run that it was written for."""
    return text.replace(json.dumps({"minimum_runs": CANARY}), "")


def test_a_flow_in_a_process_of_its_own_says_no_secret_either(vault: Vault) -> None:
    with forking(vault.environment) as runs:
        assert runs.run("auto_pause", {"pools": ["*"]}) == 0
    assert CANARY not in vault.sent()


def test_without_credentials_the_setting_that_is_missing_is_named(vault: Vault) -> None:
    environment = {name: value for name, value in vault.environment.items() if name != "PREFECT_API_AUTH_STRING"}
    for command in ("deploy", "doctor", "export", "restore"):
        done = poolkeeper(command, environment)
        assert done.returncode == 1
        assert "does not accept the credentials (401)" in " ".join((done.stdout + done.stderr).split())
        assert "PREFECT_API_AUTH_STRING" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_with_credentials_deploy_and_doctor_work(vault: Vault) -> None:
    assert vault.command("deploy") == 0
    vault.rest.worker("management")
    assert vault.command("doctor") == 0, vault.said[-3000:]

"""A secret in every place where one can be, looked for in every byte that the flows and commands write."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.transcript import Transcript
from tests.processes import free_port
from tests.rest import Rest, wait_for
from tests.server.breaker import UNLIMITED
from tests.servers import prefect_environment, running_server

pytestmark = pytest.mark.faults

CANARY = "c4n4ry"
TEMPLATE = {
    "job_configuration": {"command": f"run --password {CANARY}", "env": "{{ env }}", "headers": {"token": CANARY}},
    "variables": {
        "type": "object",
        "properties": {
            "env": {"type": "object", "default": {"PASSWORD": CANARY}},
            "password": {"type": "string", "default": CANARY},
        },
    },
}
# The same with another secret: what differs is told of, and not by its values.
CHANGED = json.loads(json.dumps(TEMPLATE).replace(CANARY, f"{CANARY}-2"))
BY_HAND = {"reason": "the tests", "actor": "Ann"}


class Vault(Transcript):
    """A server whose password is the secret, and work pools full of it."""

    def hoard(self, name: str) -> str:
        """A work pool with the secret in its template, in a deployment, and in runs and their ends."""
        self.rest.pool(name, base_job_template=TEMPLATE)
        variables = {"env": {"PASSWORD": CANARY}, "password": CANARY}
        deployment = self.rest.deployment(name, job_variables=variables, parameters={"password": CANARY})
        failed = {"type": "FAILED", "message": f"no access with {CANARY}"}
        for _ in range(12):
            run = self.rest.run(deployment, "RUNNING")
            self.rest.ask(f"/flow_runs/{run}/set_state", state=failed, force=True)
        self.rest.run(deployment, "LATE")
        return name

    def spec(self, name: str, *pools: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps({"version": 1, "pools": pools}))
        return str(path)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    environment = prefect_environment(tmp_path_factory.mktemp("vault"), free_port())
    password = f"admin:{CANARY}"
    with running_server(environment | {"PREFECT_SERVER_API_AUTH_STRING": password}) as url:
        known = environment | {"PREFECT_API_AUTH_STRING": password}
        with Rest(url, auth=("admin", CANARY)) as rest:
            yield Vault(rest, known, tmp_path_factory.mktemp("spec"))


def test_no_secret_is_in_anything_that_is_written(vault: Vault) -> None:
    vault.command("deploy")
    vault.command("doctor")
    pools = [vault.hoard(name) for name in ("watched", "going")]
    changed = {"name": "watched", "type": "process", "base_job_template": {"inline": CHANGED}}
    overridden = {"default": True, "overrides": {"env": {"PASSWORD": CANARY}}}
    new = {"name": "made-of-spec", "type": "process", "base_job_template": overridden}
    spec = vault.spec("pools.yaml", changed, new)
    wrong = vault.spec("wrong.yaml", changed | {"base_job_template": CHANGED}, new | {"job_variables": overridden})
    vault.run("inventory")
    vault.run("inventory", pools=["watched"])
    vault.run("preview", calendar=True)
    vault.run("auto_pause", pools=pools, dry_run=False, limit=UNLIMITED)
    retention = {"finished_days": 0.00001, "late_hours": 0.00001, "keep_last": 0, "keep_latest_failure": False}
    vault.run("cleanup", pools=pools, retention=retention, dry_run=False, limit=UNLIMITED)
    vault.run("reconcile", "FAILED", spec=wrong)
    vault.run("reconcile", spec=spec, dry_run=True)
    vault.run("reconcile", spec=spec, dry_run=False, limit=UNLIMITED)
    vault.run("reconcile", export=True)
    deleting = {"archive_deployments": True, "cancel_runs": True}
    vault.run("lifecycle", action="delete", pool="going", delete=deleting, **BY_HAND)
    vault.run("lifecycle", action="restore", pool="going", **BY_HAND)
    vault.command("export")

    assert lines_with(CANARY, vault) == []
    assert lines_with("Traceback", vault) == []
    assert found_in(written(vault)) == []


def lines_with(word: str, vault: Vault) -> list[str]:
    """What of the printed has this word."""
    return [f"{what}: {line}" for what, text in vault.printed.items() for line in text.splitlines() if word in line]


def written(vault: Vault) -> dict[str, list[Any]]:
    """All that Poolkeeper has left on the server, beside what others had put there."""
    rest = vault.rest
    events = {"event": {"prefix": ["poolkeeper."]}}
    wait_for(lambda: rest.ask("/events/filter", filter=events)["events"], what="the events")
    # Runs that belong to no deployment are those of the flows; the others' parameters are their owners'.
    ours = {"deployment_id": {"is_null_": True}}
    return {
        "artifacts": rest.everything("/artifacts/filter"),
        "logs": rest.everything("/logs/filter"),
        "runs": rest.everything("/flow_runs/filter", flow_runs=ours),
        "task runs": rest.everything("/task_runs/filter"),
        "variables": rest.everything("/variables/filter"),
        "automations": rest.everything("/automations/filter"),
        "blocks": rest.everything("/block_documents/filter"),
        "events": [each for each in rest.events() if not theirs(each)],
    }


def theirs(event: dict[str, Any]) -> bool:
    """Prefect's own event of a run, a deployment or a work pool of somebody else."""
    return event["event"].startswith("prefect.") and "pool-" not in json.dumps(event["related"] + [event["resource"]])


def found_in(things: dict[str, list[Any]]) -> list[str]:
    assert [what for what, rows in things.items() if not rows] == []
    return [f"{what}: {json.dumps(row)[:400]}" for what, rows in things.items() for row in rows if CANARY in str(row)]

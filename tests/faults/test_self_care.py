"""What befalls the keeper itself: doctor finds it, the server or the next deploy puts it right, nothing is wedged."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.processes import PREFECT, free_port, start, stop
from tests.rest import Rest, Row, unique, wait_for
from tests.server.test_commands import poolkeeper
from tests.servers import prefect_environment, running_server
from tests.workers import working

pytestmark = pytest.mark.faults

SWITCH, STRANDED = "poolkeeper: the sweep has not completed", "poolkeeper: an own run is stranded"
# Prefect takes no shorter one, and looks every 5 seconds.
SHORTEST = 10
# Longer than a worker on a busy machine takes to begin a run.
BEGUN = 45
SLOTS = 4
HOUR = timedelta(hours=1)


@dataclass
class Home:
    """A server with the keeper deployed."""

    rest: Rest
    environment: dict[str, str]

    def deployment(self, flow: str) -> Row:
        return dict(self.rest.read(f"/deployments/name/{flow}/management"))

    def run(self, flow: str, *states: str, **options: Any) -> str:
        return self.rest.run(self.deployment(flow), *states, **options)

    def state(self, run: str) -> str:
        return str(self.rest.read(f"/flow_runs/{run}")["state_type"])

    def process(self, run: str) -> int:
        """The id of the process that a worker started for it."""
        return int(self.rest.read(f"/flow_runs/{run}")["infrastructure_pid"].rpartition(":")[2])

    def start(self, flow: str, **parameters: Any) -> str:
        path = f"/deployments/{self.deployment(flow)['id']}/create_flow_run"
        return str(self.rest.ask(path, parameters=parameters)["id"])

    def until(self, run: str, state: str) -> None:
        wait_for(lambda: self.state(run) == state, seconds=180, what=f"{run} to be {state}")

    def automation(self, name: str) -> Row:
        (found,) = [each for each in self.rest.ask("/automations/filter") if each["name"] == name]
        return dict(found)

    def drop(self, automation: str) -> None:
        self.rest.delete(f"/automations/{self.automation(automation)['id']}").raise_for_status()

    def sign(self, run: str) -> None:
        """A sign of life, as the engine sends it."""
        flow = {"prefect.resource.role": "flow", "prefect.resource.name": "pool-auto-pause"}
        event = {
            "id": str(uuid4()),
            "event": "prefect.flow-run.heartbeat",
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
            "related": [{"prefect.resource.id": f"prefect.flow.{uuid4()}", **flow}],
        }
        self.rest.post("/events", json=[event]).raise_for_status()

    @contextmanager
    def soon(self, name: str, seconds: int = SHORTEST) -> Iterator[None]:
        """The automation waits for seconds only; afterwards it is as written."""
        body = self.automation(name)
        kept = {key: body[key] for key in ("name", "description", "enabled", "trigger", "actions")}
        body["trigger"]["within"] = seconds
        self.rest.put(f"/automations/{body['id']}", json=kept).raise_for_status()
        try:
            yield
        finally:
            assert poolkeeper("deploy", self.environment).returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    # The scheduler's own runs would be late in every test.
    quiet = {"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false"}
    environment = prefect_environment(tmp_path_factory.mktemp("home"), free_port()) | quiet
    with running_server(environment) as url, Rest(url) as rest:
        done = poolkeeper("deploy", environment)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Home(rest, environment)


@pytest.fixture(autouse=True)
def tidy(home: Home) -> Iterator[None]:
    """Nothing of one test is late or stranded in the next."""
    yield
    for row in home.rest.everything("/flow_runs/filter"):
        home.rest.delete(f"/flow_runs/{row['id']}")


def pause_pool(home: Home) -> None:
    home.rest.change_pool("management", is_paused=True)


def resume_pool(home: Home) -> None:
    home.rest.change_pool("management", is_paused=False)


def delete_pool(home: Home) -> None:
    home.rest.delete_pool("management")


def without(name: str) -> Callable[[Home], None]:
    return lambda home: home.drop(name)


def miss(home: Home) -> None:
    home.run("pool-auto-pause", "LATE", due=HOUR)


def without_worker(home: Home) -> None:
    for row in home.rest.everything("/work_pools/management/workers/filter"):
        home.rest.delete(f"/work_pools/management/workers/{row['name']}").raise_for_status()


BEFALLS: dict[str, tuple[Callable[[Home], None], str, Callable[[Home], None]]] = {
    "a person pauses its work pool": (pause_pool, "✗ work pool management: is paused", resume_pool),
    "a person deletes its work pool": (delete_pool, "✗ work pool management: is not there", lambda _: None),
    "its worker is gone": (without_worker, "✗ worker: none of 0 is online", lambda _: None),
    "an automation is deleted": (without(STRANDED), f"✗ automation {STRANDED}: is not there", lambda _: None),
    "the dead-man switch is deleted": (without(SWITCH), f"✗ automation {SWITCH}: is not there", lambda _: None),
    "its schedules are missed": (miss, "✗ schedules: 1 run should have started and did not", lambda _: None),
}


@pytest.mark.parametrize("what", BEFALLS)
def test_doctor_finds_it_and_deploy_or_a_person_puts_it_right(home: Home, what: str) -> None:
    befall, found, undo = BEFALLS[what]
    home.rest.worker("management")
    befall(home)
    told = poolkeeper("doctor", home.environment)
    assert (told.returncode, found in told.stdout) == (1, True), told.stdout
    undo(home)
    assert poolkeeper("deploy", home.environment).returncode == 0
    home.rest.worker("management")
    for row in home.rest.everything("/flow_runs/filter"):
        home.rest.delete(f"/flow_runs/{row['id']}")
    told = poolkeeper("doctor", home.environment)
    unwell = [line for line in told.stdout.splitlines() if "✗" in line and "scheduler" not in line]
    assert unwell == []
    for flow in ("pool-inventory", "pool-auto-pause", "pool-cleanup"):
        assert home.deployment(flow)["work_pool_name"] == "management"


def test_the_dead_mans_switch_takes_inventory_when_no_sweep_has_completed(home: Home) -> None:
    def taken() -> list[Row]:
        rows = home.rest.everything("/flow_runs/filter")
        inventory = home.deployment("pool-inventory")["id"]
        by_automation = [row for row in rows if (row["created_by"] or {}).get("type") == "AUTOMATION"]
        return [row for row in by_automation if row["deployment_id"] == inventory]

    with home.soon(SWITCH):
        wait_for(taken, seconds=120, what="the switch")


def test_the_server_ends_own_runs_that_nobody_works_on_and_no_others(home: Home) -> None:
    other = unique("theirs")
    theirs = home.rest.run(home.rest.deployment(home.rest.pool(other)["name"]), "PENDING")
    with home.soon(STRANDED):
        claimed = home.run("pool-auto-pause", "PENDING")
        silent = home.run("pool-auto-pause", "PENDING", "RUNNING")
        home.sign(silent)
        waiting = home.run("pool-cleanup", due=-HOUR)
        ended = home.run("pool-auto-pause", "PENDING", "RUNNING", "COMPLETED")
        # As it happens: the last sign of life comes after the end.
        home.sign(ended)
        alive = home.run("pool-auto-pause", "PENDING", "RUNNING")

        def crashed() -> bool:
            home.sign(alive)
            return {home.state(claimed), home.state(silent)} == {"CRASHED"}

        wait_for(crashed, seconds=120, what="both to be crashed")
        assert [home.state(each) for each in (theirs, waiting, ended, alive)] == [
            "PENDING", "SCHEDULED", "COMPLETED", "RUNNING",
        ]  # fmt: skip
    assert "Nobody worked on it any more" in home.rest.read(f"/flow_runs/{claimed}")["state"]["message"]


def test_runs_that_a_dead_worker_had_claimed_do_not_wedge_it(home: Home) -> None:
    with home.soon(STRANDED, BEGUN):
        claimed = [home.run("pool-inventory", "PENDING") for _ in range(SLOTS)]
        with working("management", home.environment):
            home.until(home.start("pool-auto-pause", dry_run=True), "COMPLETED")
    assert {home.state(each) for each in claimed} == {"CRASHED"}


def test_a_worker_that_is_killed_with_all_it_runs_does_not_wedge_it(home: Home) -> None:
    """The drain waits for a run that goes on, and would hold its slot for good."""
    pool = unique("busy")
    home.rest.run(home.rest.deployment(home.rest.pool(pool)["name"]), "RUNNING")
    with ExitStack() as stack, home.soon(STRANDED, BEGUN):
        command = [*PREFECT, "worker", "start", "--pool", "management", "--type", "process", "--name", "killed"]
        worker = start(command, home.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"})
        stack.callback(stop, worker)
        asked = {"action": "drain", "pool": pool, "reason": "the tests", "actor": "Ann", "wait_minutes": 60}
        drains = [home.start("pool-lifecycle", **asked) for _ in range(SLOTS)]
        for drain in drains:
            home.until(drain, "RUNNING")
        # The worker first: it would say that its processes have crashed.
        worker.kill()
        for drain in drains:
            os.kill(home.process(drain), signal.SIGKILL)
        for drain in drains:
            home.until(drain, "CRASHED")
        with working("management", home.environment):
            home.until(home.start("pool-auto-pause", dry_run=True), "COMPLETED")

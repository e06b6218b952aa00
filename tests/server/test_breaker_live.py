"""The breaker as it is deployed: failing runs, the automation, the management worker, the pool and its way back."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.server.events.schemas.automations import EventTrigger, Posture
from prefect.server.events.schemas.events import ReceivedEvent

from flows.policy.lease import read_note
from tests.processes import free_port
from tests.rest import Rest, Row, wait_for
from tests.server.test_commands import poolkeeper
from tests.servers import prefect_environment, running_server
from tests.workers import working

pytestmark = pytest.mark.long

POOL, LIMIT, OWN_WORDS = "etl", 3, "Nightly loads.\nAsk Ann."
# Shortened times; five failures within a minute are what the automation waits for.
PARAMETERS = {
    "threshold": {"minimum_runs": 5},
    "recovery": {"cooldown_minutes": 0.1, "probe_runs": 2},
    "dry_run": False,
}
FLOW = """
from pathlib import Path

from prefect import flow


@flow
def load():
    if Path({broken!r}).exists():
        raise ConnectionError("no database")
"""


@dataclass
class Site:
    """A server of its own with the keeper, its worker, and a pool whose runs fail while a file is there."""

    rest: Rest
    broken: Path
    load: Row
    auto_pause: Row

    def breaks(self) -> None:
        self.broken.touch()

    def works(self) -> None:
        self.broken.unlink()

    def start(self, number: int) -> None:
        for _ in range(number):
            self.rest.run(self.load)

    def pool(self) -> Row:
        row: Row = self.rest.read(f"/work_pools/{POOL}")
        return row

    def until(self, holds: Callable[[Row], bool], what: str) -> Row:
        """The pool once it is so; longer than the five minutes from one sweep to the next."""
        try:
            return wait_for(lambda: pool if holds(pool := self.pool()) else None, seconds=360, what=what)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.pool()['description']}\n{self.story()}") from problem

    def looks(self) -> list[Row]:
        return self.runs(self.auto_pause)

    def runs(self, deployment: Row) -> list[Row]:
        its = {"deployment_id": {"any_": [deployment["id"]]}}
        return self.rest.everything("/flow_runs/filter", sort="EXPECTED_START_TIME_ASC", flow_runs=its)

    def story(self) -> str:
        """What became of each run, for whoever reads why a test failed."""
        fields = "name", "state_name", "expected_start_time", "start_time", "end_time"
        return "\n".join(
            f"{[run[field] for field in fields]} {run['state']['message']}"
            for run in self.looks() + self.runs(self.load)
        )


def lease(pool: Row) -> str:
    note = read_note(pool["description"])
    assert note is not None, pool["description"]
    return note.words


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("breaker")
    environment = prefect_environment(home, free_port())
    broken = home / "broken"
    (home / "load.py").write_text(FLOW.format(broken=str(broken)))
    with ExitStack() as stack:
        rest = stack.enter_context(Rest(stack.enter_context(running_server(environment))))
        done = poolkeeper("deploy", environment)
        assert done.returncode == 0, done.stdout + done.stderr
        auto_pause = rest.read("/deployments/name/pool-auto-pause/management")
        rest.patch(f"/deployments/{auto_pause['id']}", json={"parameters": PARAMETERS}).raise_for_status()
        rest.pool(POOL, concurrency_limit=LIMIT, description=OWN_WORDS)
        here = {"prefect.deployments.steps.set_working_directory": {"directory": str(home)}}
        load = rest.deployment(POOL, "load", entrypoint="load.py:load", pull_steps=[here])
        for pool in ("management", POOL):
            stack.enter_context(working(pool, environment))
        yield Site(rest, broken, load, auto_pause)


def test_what_fails_is_paused_by_the_automation_and_recovers_by_itself(site: Site) -> None:
    for _ in range(6):
        # Its own failures must not start it.
        site.rest.run(site.auto_pause, "PENDING", "RUNNING", "FAILED")
    site.breaks()
    site.start(8)
    paused = site.until(lambda pool: pool["is_paused"], "the pool to be paused")
    assert "runs failed (100%, threshold 50%)" in lease(paused)
    assert paused["description"].endswith(OWN_WORDS)
    assert paused["concurrency_limit"] == LIMIT
    # A sweep may have been before it.
    nudged = wait_for(lambda: [run for run in site.looks() if by_automation(run)], what="the automation")
    assert {run["parameters"]["pools"][0] for run in nudged} == {POOL}
    site.works()
    tried = site.until(lambda pool: not pool["is_paused"], "the pool to be half-open")
    assert tried["concurrency_limit"] == 1
    assert "trying again" in lease(tried)
    site.start(2)
    closed = site.until(lambda pool: pool["description"] == OWN_WORDS, "the circuit to be closed")
    assert closed["concurrency_limit"] == LIMIT
    assert not closed["is_paused"]


def test_what_still_fails_is_paused_again_for_longer(site: Site) -> None:
    site.breaks()
    site.start(8)
    first = site.until(lambda pool: pool["is_paused"], "the pool to be paused")
    site.until(lambda pool: not pool["is_paused"], "the pool to be half-open")
    site.start(2)
    again = site.until(lambda pool: pool["is_paused"] and lease(pool) != lease(first), "the pool to be paused again")
    # One that fails may be enough to decide.
    assert re.search(r"probe runs? failed: still failing", lease(again))
    circuits = [row["value"] for row in site.rest.everything("/variables/filter") if "circuit" in row["name"]]
    assert [circuit["reopened"] for circuit in circuits if circuit["phase"] == "open"] == [1]
    site.works()
    site.until(lambda pool: not pool["is_paused"], "the pool to be half-open")
    site.start(2)
    site.until(lambda pool: pool["description"] == OWN_WORDS, "the circuit to be closed")


def test_the_dead_mans_switch_waits_for_a_sweep_that_completed_and_for_nothing_else(site: Site) -> None:
    (switch,) = [each for each in site.rest.ask("/automations/filter") if "has not completed" in each["name"]]
    trigger = EventTrigger.model_validate(switch["trigger"])
    assert trigger.posture == Posture.Proactive

    def ends(deployment: Row, name: str) -> list[ReceivedEvent]:
        resource = {"resource": {"id": [f"prefect.flow-run.{site.rest.run(deployment, 'PENDING', 'RUNNING', name)}"]}}
        query = resource | {"event": {"name": [f"prefect.flow-run.{name.capitalize()}"]}}
        found = wait_for(lambda: site.rest.ask("/events/filter", filter=query)["events"], what="the event of its end")
        return [ReceivedEvent.model_validate(event | {"received": event["occurred"]}) for event in found]

    (completed,), (failed,) = ends(site.auto_pause, "COMPLETED"), ends(site.auto_pause, "FAILED")
    (other,) = ends(site.load, "COMPLETED")
    assert [trigger.covers(event) for event in (completed, failed, other)] == [True, False, False]


def by_automation(run: Row) -> bool:
    return (run["created_by"] or {}).get("type") == "AUTOMATION"

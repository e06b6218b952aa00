"""Runs that hold a slot although nobody works on them: found and crashed on a real server."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.policy.cleanup.kinds import Found, Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.cleanup.stuck_runs import StuckFacts, decide_stuck_runs
from flows.policy.plan import Outcome, Result, Verb
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from flows.prefect_api import Api, connect
from flows.prefect_api.stuck_runs import HEARTBEAT, StuckRuns, observe_stuck_runs
from flows.prefect_api.work_pools import read_pools
from tests.database import FORMAT, copies, database
from tests.processes import PREFECT, stop
from tests.rest import Rest, Row, unique, wait_for

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
LATER = timedelta(hours=1, seconds=20)
ENDS = (Verb.CRASH, Verb.CANCEL)


class Site:
    """A work pool with one deployment, and what a cleanup of it finds."""

    def __init__(self, rest: Rest, home: Path, **fields: Any) -> None:
        self.rest, self.home = rest, home
        self.pool = unique("stuck | pool 🐝")
        rest.pool(self.pool, **fields)
        self.deployment = rest.deployment(self.pool)

    def run(self, *states: str, worker: str | None = None, of: Row | None = None, **fields: Any) -> str:
        run = self.rest.run(of or self.deployment, *states)
        if worker is not None:
            labels = {"prefect.worker.name": worker}
            self.rest.patch(f"/flow_runs/{run}/labels", json=labels).raise_for_status()
        if fields:
            self.rest.patch(f"/flow_runs/{run}", json=fields).raise_for_status()
        return run

    def stuck(self, *states: str, **fields: Any) -> str:
        """A run that has been in its state for four hours."""
        run = self.run(*states, **fields)
        self.age_state(run, 4 * HOUR)
        return run

    def beat(self, run: str, *ago: timedelta, clock: timedelta = timedelta(0)) -> None:
        """Heartbeats of a run that arrived so long ago, from a machine whose clock is fast by so much."""
        self.beats([(run, each, clock) for each in ago])

    def beats(self, wanted: Sequence[tuple[str, timedelta, timedelta]]) -> None:
        now = datetime.now(UTC)
        ids = [str(uuid4()) for _ in wanted]
        events = [
            {
                "id": id_,
                "event": HEARTBEAT,
                "occurred": (now - ago + clock).isoformat(),
                "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
                "payload": {},
            }
            for id_, (run, ago, clock) in zip(ids, wanted, strict=True)
        ]
        before = {run: self.events(run) for run, _, _ in wanted}
        self.rest.post("/events", json=events).raise_for_status()
        for run, count in before.items():
            new = sum(run == each for each, _, _ in wanted)
            wait_for(lambda run=run, all_=count + new: self.events(run) == all_, what="the heartbeats")  # type: ignore[misc]
        with database(self.home) as connection:
            for id_, (_, ago, _) in zip(ids, wanted, strict=True):
                sql = "UPDATE events SET received = ? WHERE id = ?"
                assert connection.execute(sql, ((now - ago).strftime(FORMAT), id_)).rowcount == 1

    def events(self, run: str) -> int:
        """How many heartbeats there are of a run."""
        query = {
            "event": {"name": [HEARTBEAT]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
            "occurred": {"until": "9999-01-01T00:00:00Z"},
        }
        return int(self.rest.ask("/events/filter", filter=query)["total"])

    def age_worker(self, name: str, ago: timedelta) -> None:
        at = (datetime.now(UTC) - ago).strftime(FORMAT)
        with database(self.home) as connection:
            sql = "UPDATE worker SET last_heartbeat_time = ? WHERE name = ?"
            assert connection.execute(sql, (at, name)).rowcount == 1

    def age_state(self, run: str, ago: timedelta) -> None:
        at = (datetime.now(UTC) - ago).strftime(FORMAT)
        with database(self.home) as connection:
            for sql in (
                "UPDATE flow_run SET state_timestamp = ? WHERE id = ?",
                "UPDATE flow_run_state SET timestamp = ? WHERE id = (SELECT state_id FROM flow_run WHERE id = ?)",
            ):
                assert connection.execute(sql, (at, run)).rowcount == 1

    def state(self, run: str) -> Row:
        state: Row = self.rest.read(f"/flow_runs/{run}")["state"]
        return state

    async def scope(self, api: Api, *others: str, retention: Retention | None = None, **changed: Any) -> Scope:
        pools = await read_pools(api)
        selection = select_pools([self.pool, *others], [], [pool.name for pool in pools])
        chosen = tuple(pool for pool in pools if pool.name in selection.names)
        usual = Scope(selection, chosen, retention or Retention(), Protection(), await api.server_time())
        return replace(usual, **changed)


@pytest.fixture
def home(environment: dict[str, str]) -> Path:
    return Path(environment["PREFECT_HOME"])


@pytest.fixture
def site(rest: Rest, home: Path) -> Iterator[Site]:
    site = Site(rest, home)
    yield site
    rest.delete(f"/deployments/{site.deployment['id']}")
    rest.delete_pool(site.pool)


async def look(api: Api, scope: Scope) -> tuple[StuckFacts, Found]:
    facts = await observe_stuck_runs(api, scope)
    return facts, decide_stuck_runs(facts, scope)


async def clear(api: Api, scope: Scope, facts: StuckFacts, found: Found) -> Sequence[Outcome]:
    crashes = [each for each in found.verdicts if each.verb in ENDS]
    return await StuckRuns(api, scope, facts).clear(crashes)


async def sweep(site: Site, **changed: Any) -> dict[str, Outcome]:
    async with connect() as api:
        scope = await site.scope(api, **changed)
        facts, found = await look(api, scope)
        return {each.verdict.target.id: each for each in await clear(api, scope, facts, found)}


async def reasons(site: Site, **changed: Any) -> dict[str, tuple[Verb, str]]:
    """What is decided about each run an hour from now, where half an hour is long."""
    async with connect() as api:
        scope = await site.scope(api, retention=Retention(stuck_minutes=30))
        later = {"now": scope.now + LATER} | changed
        _, found = await look(api, replace(scope, **later))
        return {each.target.id: (each.verb, each.reason) for each in found.verdicts}


async def test_crashes_pending_running_and_cancelling_runs_that_nobody_works_on_and_frees_their_slots(
    rest: Rest, site: Site
) -> None:
    rest.change_pool(site.pool, concurrency_limit=2)
    pending, running, cancelling = site.stuck("PENDING"), site.stuck("RUNNING"), site.stuck("RUNNING", "CANCELLING")
    submitting = site.run("PENDING")
    rest.ask(f"/flow_runs/{submitting}/set_state", state={"type": "PENDING", "name": "Submitting"})
    site.age_state(submitting, 4 * HOUR)
    site.beat(running, 4 * HOUR, 3 * HOUR)
    assert rest.read(f"/work_pools/{site.pool}")["active_slots"] == 3
    outcomes = await sweep(site)
    assert {run: (each.result, each.detail) for run, each in outcomes.items()} == dict.fromkeys(
        (pending, running, cancelling, submitting), (Result.DONE, "")
    )
    for run in outcomes:
        # Unless it is forced, Prefect lets a run that is being cancelled become nothing but cancelled.
        end = "Cancelled" if run == cancelling else "Crashed"
        assert outcomes[run].verdict.verb is (Verb.CANCEL if run == cancelling else Verb.CRASH)
        state = site.state(run)
        assert (state["type"], state["name"]) == (end.upper(), end)
        assert state["message"].startswith(f"{end} by Poolkeeper: ")
    assert rest.read(f"/work_pools/{site.pool}")["active_slots"] == 0
    assert await sweep(site) == {}


async def test_a_run_that_is_worked_on_or_may_be_is_left_and_the_reason_says_which_sign_is_missing(
    rest: Rest, site: Site
) -> None:
    rest.worker(site.pool, "on | line")
    rest.worker(site.pool, name := unique("off"))
    site.age_worker(name, 4 * HOUR)
    taken = site.run("PENDING", worker="on | line")
    unnamed = site.run("PENDING")
    quiet = site.run("RUNNING", worker=name)
    beating = site.run("RUNNING", worker=name)
    site.beat(beating, timedelta(minutes=-40))
    kept = site.run("PENDING", worker="gone", tags=["keep", "etl"])
    young = site.run("PENDING", worker="gone")
    site.age_state(young, timedelta(minutes=-40))
    cancelling = site.run("RUNNING", "CANCELLING", worker=name)
    stale = site.run("RUNNING", "PENDING", worker=name)
    healthy = site.run("RUNNING", worker="on | line")
    crashed = site.run("PENDING", worker=name)
    found = await reasons(site)
    assert found.pop(crashed) == (Verb.CRASH, f"Pending for 1 h, and its worker {name!r} was last heard of 5 h ago")
    assert found.pop(cancelling)[0] is Verb.CANCEL
    assert {verb for verb, _ in found.values()} == {Verb.LEAVE}
    assert {run: reason for run, (_, reason) in found.items()} == {
        taken: "Pending for 1 h, but its worker 'on | line' is online",
        unnamed: "Pending for 1 h, but its work pool has 1 online worker",
        quiet: f"Running for 1 h, and its worker {name!r} was last heard of 5 h ago, but no heartbeats are known of it",
        beating: f"Running for 1 h, and its worker {name!r} was last heard of 5 h ago, but its last heartbeat came "
        "20 min ago",
        kept: "Pending for 1 h, and its worker 'gone' is gone, but its tag 'keep' protects it",
        stale: "Pending for 1 h, but its work pool has 1 online worker",
    }
    assert not {young, healthy} & found.keys()


async def test_a_clock_that_is_fast_or_slow_on_the_machine_that_runs_it_makes_no_run_silent_or_loud(site: Site) -> None:
    clocks = [-10 * HOUR, 0 * HOUR, 10 * HOUR]
    alive, dead = ({site.run("RUNNING"): clock for clock in clocks} for _ in range(2))
    site.beats(
        [(run, timedelta(minutes=-40), clock) for run, clock in alive.items()]
        + [(run, timedelta(minutes=1), clock) for run, clock in dead.items()]
    )
    found = await reasons(site)
    assert {run for run, (verb, _) in found.items() if verb is Verb.CRASH} == set(dead)
    assert {found[run][1].rpartition(", but ")[2] for run in alive} == {"its last heartbeat came 20 min ago"}


async def test_a_run_without_a_work_pool_is_reported_and_only_where_every_pool_is_asked_for(
    rest: Rest, site: Site
) -> None:
    served = rest.deployment(None)
    pending, silent, beating = (site.run(state, of=served) for state in ("PENDING", "RUNNING", "RUNNING"))
    site.beat(silent, timedelta(minutes=1))
    site.beat(beating, timedelta(minutes=-40))
    try:
        assert await reasons(site) == {}
        found = await reasons_everywhere(site)
        words = "but it has no work pool, so no worker can be looked for"
        assert found[pending] == (Verb.LEAVE, f"Pending for 1 h, {words}")
        assert found[silent] == (Verb.LEAVE, f"Running for 1 h, without heartbeat for 1 h 1 min, {words}")
        assert beating not in found
    finally:
        rest.delete(f"/deployments/{served['id']}")


async def reasons_everywhere(site: Site) -> dict[str, tuple[Verb, str]]:
    async with connect() as api:
        scope = await site.scope(api, "*", retention=Retention(stuck_minutes=30))
        _, found = await look(api, replace(scope, now=scope.now + LATER))
        return {each.target.id: (each.verb, each.reason) for each in found.verdicts}


async def test_nothing_is_asked_where_no_pool_is_selected(server: str) -> None:  # noqa: ARG001
    async with connect() as api:
        scope = Scope(select_pools([], [], []), (), Retention(), Protection(), datetime.now(UTC))
        assert await observe_stuck_runs(api, scope) == StuckFacts()
        assert api.requests == 0


async def test_push_pools_and_protected_pools_and_runs_are_left(rest: Rest, home: Path, site: Site) -> None:
    push = Site(rest, home, type="kubernetes:push")
    run = push.run("PENDING")
    assert (await reasons(push))[run] == (
        Verb.LEAVE,
        "Pending for 1 h, but work pools of type kubernetes:push have no workers of their own",
    )
    own = site.run("PENDING")
    assert await reasons(site, protection=Protection(pools=frozenset({site.pool}))) == {}
    verb, reason = (await reasons(site, protection=Protection(run_ids=frozenset({own}))))[own]
    assert verb is Verb.LEAVE
    assert reason.endswith("is the one that decides this")
    rest.delete_pool(push.pool)


async def test_what_has_changed_since_it_was_decided_is_left(rest: Rest, site: Site) -> None:
    rest.worker(site.pool, back := unique("back"))
    site.age_worker(back, 4 * HOUR)
    runs = {name: site.run("PENDING", worker="gone") for name in ("ended", "started", "anew", "deleted", "tagged")}
    runs |= {"beating": site.run("RUNNING", worker="gone"), "back": site.run("PENDING", worker=back)}
    runs |= {"unnamed": site.run("PENDING"), "stuck": site.run("PENDING", worker="gone")}
    site.beat(runs["beating"], 2 * HOUR)
    for run in runs.values():
        site.age_state(run, 2 * HOUR)

    def move(name: str, *types: str) -> None:
        for type_ in types:
            rest.ask(f"/flow_runs/{runs[name]}/set_state", state={"type": type_}, force=True)

    def states() -> dict[str, str]:
        rows = {name: rest.get(f"/flow_runs/{run}").json() for name, run in runs.items()}
        return {name: row.get("state_id") for name, row in rows.items() if name != "stuck"}

    async with connect() as api:
        scope = await site.scope(api, retention=Retention())
        facts, found = await look(api, scope)
        assert {each.target.id for each in found.verdicts if each.verb is Verb.CRASH} == set(runs.values())
        move("ended", "COMPLETED")
        move("started", "RUNNING")
        move("anew", "SCHEDULED", "PENDING")
        rest.delete(f"/flow_runs/{runs['deleted']}").raise_for_status()
        rest.patch(f"/flow_runs/{runs['tagged']}", json={"tags": ["keep"]}).raise_for_status()
        rest.worker(site.pool, back)
        site.beat(runs["beating"], timedelta(0))
        before = states()
        outcomes = await clear(api, scope, facts, found)
    told = {each.verdict.target.id: (each.result.value, each.detail) for each in outcomes}
    stands = "Pending for 2 h"
    assert {name: told[run] for name, run in runs.items() if name != "beating"} == {
        "ended": ("skipped", "its state has changed meanwhile: Completed"),
        "started": ("skipped", "its state has changed meanwhile: Running"),
        "anew": ("skipped", "its state has changed meanwhile: Pending"),
        "deleted": ("done", "already gone"),
        "tagged": ("skipped", f"{stands}, and its worker 'gone' is gone, but its tag 'keep' protects it"),
        "back": ("skipped", f"{stands}, but its worker {back!r} is online"),
        "unnamed": ("skipped", f"{stands}, but its work pool has 1 online worker"),
        "stuck": ("done", ""),
    }
    assert told[runs["beating"]][0] == "skipped"
    assert ", but its last heartbeat came " in told[runs["beating"]][1]
    assert states() == before
    assert site.state(runs["stuck"])["type"] == "CRASHED"


async def test_what_was_never_looked_at_is_left(site: Site) -> None:
    run = site.stuck("PENDING")
    async with connect() as api:
        scope = await site.scope(api)
        _, found = await look(api, scope)
        (outcome,) = await clear(api, scope, StuckFacts(), found)
    assert (outcome.result, outcome.detail) == (Result.SKIPPED, "it was not looked at when this was decided")
    assert site.state(run)["type"] == "PENDING"


async def test_a_pool_that_is_deleted_in_the_meantime_takes_the_evidence_with_it(rest: Rest, home: Path) -> None:
    site = Site(rest, home)
    run = site.stuck("PENDING")
    async with connect() as api:
        scope = await site.scope(api)
        facts, found = await look(api, scope)
        rest.delete_pool(site.pool)
        (outcome,) = await clear(api, scope, facts, found)
    assert outcome.result is Result.SKIPPED
    assert outcome.detail.endswith("but it has no work pool, so no worker can be looked for")
    assert site.state(run)["type"] == "PENDING"


async def test_two_cleanups_at_once_end_each_run_once_and_neither_fails(rest: Rest, site: Site) -> None:
    runs = {site.stuck("PENDING") for _ in range(4)}
    async with connect() as api:
        scope = await site.scope(api)
        facts, found = await look(api, scope)
        both = await asyncio.gather(*(clear(api, scope, facts, found) for _ in range(2)))
    assert {each.verdict.target.id for each in both[0]} == runs
    assert Result.FAILED not in {each.result for outcomes in both for each in outcomes}
    for run in runs:
        types = [state["type"] for state in rest.read(f"/flow_run_states/?flow_run_id={run}")]
        assert (types.count("CRASHED"), types[-1]) == (1, "CRASHED")


async def test_a_run_that_would_be_retried_is_not_started_again(rest: Rest, site: Site) -> None:
    run = site.stuck("PENDING", empirical_policy={"retries": 3, "retry_delay": 0})
    outcomes = await sweep(site)
    assert outcomes[run].result is Result.DONE
    assert rest.read(f"/flow_runs/{run}")["state"]["type"] == "CRASHED"


async def test_few_requests_are_made_for_many_runs(site: Site) -> None:
    first = site.run("RUNNING", worker="gone")
    copies(site.home, first, 119)
    site.beat(first, timedelta(minutes=-40))
    async with connect() as api:
        scope = await site.scope(api, retention=Retention(stuck_minutes=30))
        before = api.requests
        facts = await observe_stuck_runs(api, replace(scope, now=scope.now + LATER))
    # The runs, the workers, the heartbeats of the last half an hour by fifty, and then of each silent run.
    assert (len(facts.runs), api.requests - before) == (120, 1 + 1 + 3 + 119)


SLEEPY = """
import time
from prefect import flow

@flow
def sleepy():
    time.sleep(600)
"""


@pytest.mark.long
async def test_a_run_whose_worker_was_killed_is_left_while_its_process_lives_and_crashed_once_that_is_dead(
    rest: Rest, site: Site, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    here = {"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}
    sleepy = rest.deployment(site.pool, entrypoint="sleepy.py:sleepy", pull_steps=[here])
    rest.change_pool(site.pool, concurrency_limit=1)
    with worker(site.pool, "wörker 1", environment) as process:
        run = site.rest.run(sleepy)
        row = wait_for(lambda: started(rest, run), what="the run to be running")
        engine = int(row["infrastructure_pid"])
        try:
            assert row["labels"]["prefect.worker.name"] == "wörker 1"
            wait_for(lambda: site.events(run), what="a heartbeat")
            process.kill()
            process.wait()
            site.age_worker("wörker 1", 2 * HOUR)
            site.age_state(run, 3 * HOUR)
            verb, reason = (await look_now(site))[run]
            assert verb is Verb.LEAVE
            assert reason.startswith(
                "Running for 3 h, and its worker 'wörker 1' was last heard of 2 h ago, but its last "
            )
        finally:
            os.kill(engine, signal.SIGKILL)
    received = (datetime.now(UTC) - 2 * HOUR).strftime(FORMAT)
    with database(site.home) as connection:
        sql = "UPDATE events SET received = ? WHERE event = ? AND resource_id = ?"
        assert connection.execute(sql, (received, HEARTBEAT, f"prefect.flow-run.{run}")).rowcount > 0
    assert rest.read(f"/work_pools/{site.pool}")["active_slots"] == 1
    outcomes = await sweep(site)
    assert outcomes[run].result is Result.DONE
    assert outcomes[run].verdict.reason.startswith(
        "Running for 3 h, without heartbeat for 2 h, and its worker 'wörker 1'"
    )
    why = "running without heartbeat for more than 1 h, and no worker is online that would work on it"
    assert site.state(run)["message"] == f"Crashed by Poolkeeper: {why}."
    assert rest.read(f"/work_pools/{site.pool}")["active_slots"] == 0


def started(rest: Rest, run: str) -> Row | None:
    row: Row = rest.read(f"/flow_runs/{run}")
    return row if row["state_type"] == "RUNNING" and row["infrastructure_pid"] else None


async def look_now(site: Site) -> dict[str, tuple[Verb, str]]:
    async with connect() as api:
        _, found = await look(api, await site.scope(api))
        return {each.target.id: (each.verb, each.reason) for each in found.verdicts}


@contextmanager
def worker(pool: str, name: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [*PREFECT, "worker", "start", "--pool", pool, "--name", name, "--type", "process"]
    output = subprocess.DEVNULL
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    process = subprocess.Popen(command, env=environment | quick, stdout=output, stderr=output)
    try:
        yield process
    finally:
        stop(process)

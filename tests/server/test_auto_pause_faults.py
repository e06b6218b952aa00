"""What pool-auto-pause makes of overlap, of its own death, of a common outage, of bad input and of what is gone."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from prefect import tags

from flows.prefect_api import Refused, circuits, gates, turning, upkeep
from flows.prefect_api.bookings import BOOKED
from tests.api import served
from tests.processes import free_port
from tests.rest import Rest, Row, unique, wait_for
from tests.server.breaker import LONG, ROOT, Breaker, Pool, breaking
from tests.servers import prefect_environment

pytestmark = [pytest.mark.anyio, pytest.mark.long]

INCIDENT = "poolkeeper.incident.reported"


async def test_two_runs_at_the_same_time_pause_once(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = breaker.pool(description="mine")
    pool.fail(4)
    meet(monkeypatch)
    states = await asyncio.gather(pool.look(recovery=LONG), pool.look(recovery=LONG))
    assert sorted(every_outcome(pool)) == ["done", "skipped"]
    assert all(state.is_completed() for state in states)
    assert len(pool.records()) == 1
    assert pool.circuit()["applied"]
    assert pool.now()["description"].count("[Poolkeeper: ") == 1
    pool.wait_for_event("poolkeeper.pool.paused")
    pool.wait_for_event("prefect.work-pool.paused")
    assert len(pool.events("poolkeeper.pool.paused")) == 1
    assert len(pool.events("prefect.work-pool.paused")) == 1


async def test_two_runs_at_the_same_time_resume_and_close_once(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool(concurrency_limit=7, description="mine")
    before = pool.now()
    await pool.open()
    pool.wait_until_over()
    with monkeypatch.context() as patch:
        meet(patch)
        await asyncio.gather(pool.look(), pool.look())
    assert (pool.phase(), pool.circuit()["former_limit"]) == ("half-open", 7)
    pool.wait_for_trial()
    pool.succeed(3)
    meet(monkeypatch)
    await asyncio.gather(pool.look(), pool.look())
    assert pool.phase() == "closed"
    assert pool.now() == before


async def test_a_run_leaves_a_turn_to_another_one_that_is_just_doing_it(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool()
    pool.fail(4)
    keep_new, written = circuits.keep_new, asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> Any:
        kept = await keep_new(*arguments, **options)
        written.set()
        await asyncio.sleep(1)
        return kept

    async def later() -> None:
        await written.wait()
        await pool.look(recovery=LONG)

    monkeypatch.setattr(turning, "keep_new", slow)
    await asyncio.gather(pool.look(recovery=LONG), later())
    assert sorted(every_outcome(pool)) == ["done", "skipped"]
    assert len(pool.records()) == 1
    assert pool.is_paused


@pytest.mark.parametrize(
    ("write", "dying"),
    [
        ("keep_new", ("open", "half-open", "closed")),
        ("set_gate", ("open", "half-open", "closed")),
        ("keep_changed", ("open", "half-open", "closed")),
        ("forget", ("half-open", "closed")),
        ("book", ("open", "half-open")),
    ],
)
async def test_whenever_a_run_dies_later_ones_finish_its_turn_and_all_ends_well(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch, write: str, dying: tuple[str, ...]
) -> None:
    pool = breaker.pool(concurrency_limit=7, description="mine")
    before = pool.now()
    # Long enough for the next run to come before its end.
    recovery = {"cooldown_minutes": 0.05}
    dead_after(monkeypatch, timedelta(days=-1))
    for phase in ("open", "half-open", "closed"):
        ripen(pool, phase)
        if phase in dying:
            with monkeypatch.context() as patch:
                patch.setattr(turning, write, dies)
                with pytest.raises(Died):
                    await pool.look(recovery=recovery)
        if pool.is_paused is not (phase == "open") or not is_phase(pool, phase):
            await pool.look(recovery=recovery)
        assert is_phase(pool, phase), pool.records()
        limits = {"open": 7, "half-open": 1, "closed": 7}
        assert (pool.is_paused, pool.now()["concurrency_limit"]) == (phase == "open", limits[phase])
    assert pool.now() == before


async def test_a_turn_that_a_dead_run_left_undone_is_left_to_it_while_it_may_live(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool()
    pool.fail(4)
    with monkeypatch.context() as patch:
        patch.setattr(turning, "set_gate", dies)
        with pytest.raises(Died):
            await pool.look(recovery=LONG)
    assert (pool.is_paused, pool.circuit()["applied"]) == (False, False)
    dead_after(monkeypatch, timedelta(seconds=2))
    await pool.look(recovery=LONG)
    assert pool.row()["outcome"] == "done"
    assert (pool.is_paused, pool.circuit()["applied"]) == (True, True)


async def test_a_pool_that_a_person_pauses_at_the_last_moment_is_left_to_them(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool()
    pool.fail(4)
    touch(monkeypatch, lambda: pool.change(is_paused=True))
    await pool.look()
    assert pool.row()["outcome"] == "skipped"
    assert pool.now() == {"is_paused": True, "concurrency_limit": None, "description": None}
    assert pool.records() == []


async def test_a_pool_that_is_gone_before_it_is_paused_is_done(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool()
    pool.fail(4)
    touch(monkeypatch, lambda: breaker.rest.delete_pool(pool.name))
    state = await pool.look()
    assert state.is_completed()
    assert pool.row()["outcome"] == "done"
    assert pool.row()["reason"].endswith("(already gone)")
    assert pool.records() == []


async def test_what_is_kept_of_a_pool_goes_when_the_pool_is_gone(breaker: Breaker) -> None:
    gone, other = breaker.pool(), breaker.pool()
    await gone.open(recovery=LONG)
    assert len(gone.records()) == 1
    breaker.rest.delete_pool(gone.name)
    await other.look()
    assert gone.records() == []


async def test_another_pool_under_the_same_name_is_not_taken_for_the_one_that_was_paused(breaker: Breaker) -> None:
    pool = breaker.pool()
    await pool.open(recovery=LONG)
    breaker.rest.delete_pool(pool.name)
    breaker.rest.pool(pool.name, is_paused=True)
    state = await pool.look()
    assert state.is_completed()
    assert pool.row()["reason"] == "paused by a person, who alone resumes it"
    assert pool.records() == []


async def test_the_management_pool_is_never_touched(breaker: Breaker) -> None:
    keeper = breaker.pool()
    deployment = keeper.deployment(name="management", tags=["poolkeeper"], entrypoint="flows/inventory.py:inventory")
    keeper.fail(4, of=deployment)
    keeper.fail(4)
    with breaker.overrides({keeper.name: "open"}):
        state = await keeper.look()
    assert state.is_completed()
    assert not keeper.is_paused
    assert "runs Poolkeeper itself" in keeper.row()["reason"]
    assert keeper.row()["verb"] == "leave"


async def test_a_variable_that_is_not_as_it_was_written_is_named_and_ignored(breaker: Breaker) -> None:
    pool = breaker.pool()
    name = f"poolkeeper_circuit_{unique('broken').replace('-', '_')}"
    breaker.rest.ask("/variables/", name=name, value={"phase": "open"})
    state = await pool.look()
    breaker.rest.delete(f"/variables/name/{name}").raise_for_status()
    assert state.is_completed()
    assert name in pool.page()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"threshold": {"failure_rate": 0}}, "failure_rate"),
        ({"threshold": {"failure_rate": 1.5}}, "failure_rate"),
        ({"threshold": {"minimum_runs": 0}}, "minimum_runs"),
        ({"threshold": {"failure_rat": 0.5}}, "failure_rat"),
        ({"recovery": {"cooldown_minutes": 0}}, "cooldown_minutes"),
        ({"recovery": {"backlog": "everything"}}, "backlog"),
        ({"limit": {"max_share": 2}}, "max_share"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"pools": "etl"}, "pools"),
    ],
)
async def test_input_that_makes_no_sense_fails_the_run_and_is_named(
    breaker: Breaker, parameters: dict[str, Any], words: str
) -> None:
    state = await breaker.look(**{"pools": ["*"], **parameters})
    assert state.is_failed()
    assert words in state.message


async def test_a_pool_that_nobody_knows_fails_the_run_with_the_nearest_name(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(4)
    state = await breaker.look(pools=[f"{pool.name}x"])
    assert state.is_failed()
    assert f"The nearest name is {pool.name!r}." in state.message
    assert not pool.is_paused


async def test_an_empty_selection_says_so_and_touches_nothing(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(4)
    state = await breaker.look(pools=[pool.name], exclude=["*"])
    assert state.is_completed()
    assert "is excluded by '*'" in state.message
    assert not pool.is_paused


async def test_numbers_and_switches_may_be_written_as_text(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.end(3, "RUNNING", "CRASHED")
    threshold = {"minimum_runs": "3", "failure_rate": "0.5", "count_crashed": "true"}
    await pool.look(threshold=threshold, recovery={"cooldown_minutes": "60"}, dry_run="false")
    assert pool.is_paused
    assert pool.row()["until"] == pool.circuit()["until"].replace("Z", "+00:00")


async def test_a_nudge_that_comes_late_for_a_pool_that_is_gone_is_an_answer(breaker: Breaker) -> None:
    with tags(BOOKED):
        state = await breaker.look(pools=["gone-pool"])
    assert state.is_completed()
    assert state.message == "Gone meanwhile: 'gone-pool'. Nothing to do."


async def test_a_refused_permission_fails_the_run_and_leaves_nothing_half_done(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool(description="mine")
    pool.fail(4)
    before = pool.now()

    async def refuses(*_: Any) -> None:
        raise Refused("Prefect's API does not permit /work_pools/etl (403). Use credentials that may do this.")

    with monkeypatch.context() as patch:
        patch.setattr(turning, "set_gate", refuses)
        state = await pool.look()
    assert state.is_failed()
    assert (pool.row()["outcome"], "does not permit" in pool.row()["reason"]) == ("failed", True)
    assert (pool.now(), pool.records()) == (before, [])


async def test_a_look_that_cannot_be_booked_does_not_make_the_pause_a_failure(breaker: Breaker) -> None:
    pool = breaker.pool()
    keeper = pool.deployment(
        name="management", entrypoint="flows/auto_pause.py:auto_pause", tags=["poolkeeper"],
        parameter_openapi_schema={"type": "object", "properties": {}, "additionalProperties": False},
        enforce_parameter_schema=True,
    )  # fmt: skip
    other = breaker.pool()
    await other.open(recovery=LONG)
    assert other.row()["outcome"] == "done"
    runs = breaker.rest.everything("/flow_runs/filter", flow_runs={"deployment_id": {"any_": [keeper["id"]]}})
    assert runs == []


async def test_a_process_that_is_killed_between_pausing_and_marking_leaves_a_lease_that_ends(
    breaker: Breaker, breaker_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = breaker.pool(concurrency_limit=7, description="mine")
    before = pool.now()
    pool.fail(4)
    assert run_and_kill(pool, breaker_environment) == -signal.SIGKILL
    assert (pool.is_paused, pool.circuit()["applied"]) == (True, False)
    dead_after(monkeypatch, timedelta(0))
    await pool.look()
    assert pool.circuit()["applied"]
    if pool.phase() == "open":
        pool.wait_until_over()
        await pool.look()
    pool.wait_for_trial()
    pool.succeed(3)
    await pool.look()
    assert pool.now() == before


def run_and_kill(pool: Pool, environment: dict[str, str]) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, pool.name], check=False, cwd=ROOT, env=environment).returncode


# The flow in a process of its own, which is killed once the pool is paused and before that is written down.
KILLED = """
import asyncio, os, signal, sys
from flows.prefect_api import turning
from prefect.flows import load_flow_from_entrypoint

async def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

turning.Turning.mark = killed
flow = load_flow_from_entrypoint("flows/auto_pause.py:auto_pause", use_placeholder_flow=False)
limit = {"max_share": 1.0, "max_actions": 1000}
recovery = {"cooldown_minutes": 0.001}
asyncio.run(flow([sys.argv[1]], [], {"minimum_runs": 4}, recovery, limit, False))
"""


@pytest.fixture(scope="module")
def alone(breaker_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Breaker]:  # noqa: ARG001 - it comes first
    """Six pools on a server of their own, as every other test's pools would be part of an outage."""
    environment = prefect_environment(tmp_path_factory.mktemp("outage"), free_port())
    with served(environment) as url, Rest(url) as rest, breaking(rest, environment) as breaker:
        for _ in range(6):
            breaker.pool()
        yield breaker


async def test_a_common_outage_is_one_incident_and_pauses_nothing(alone: Breaker) -> None:
    first, *others = alone.pools
    await first.open()
    first.wait_until_over()
    for pool in others:
        pool.fail(4)
    for _ in range(2):
        state = await alone.look(pools=["*"], limit={}, recovery=LONG)
        assert state.is_failed()
        assert "6 of 6 work pools fail at once" in state.message
        assert not any(pool.is_paused for pool in alone.pools)
        rows = {row["target"]: row for row in alone.rest.table("pool-auto-pause-table")}
        assert {rows[pool.name]["outcome"] for pool in others} == {"refused"}
    # What stood paused came back in the midst of it.
    assert first.phase() == "half-open"
    narrowed = await others[0].look(limit={})
    assert narrowed.is_failed()
    assert (others[0].row()["outcome"], others[0].is_paused) == ("refused", False)
    assert [pool.records() for pool in others] == [[]] * 5
    wait_for(lambda: incidents(alone), what="the event")
    first.wait_for_trial()
    first.succeed(3)
    await alone.look(pools=["*"], limit={})
    assert first.phase() == "closed"
    assert len(alone.variables("poolkeeper_incident")) == 1
    await alone.look(pools=["*"], limit={}, threshold={})
    assert alone.variables("poolkeeper_incident") == []
    assert len(incidents(alone)) == 1


async def test_a_dry_run_says_that_it_would_be_refused(alone: Breaker) -> None:
    state = await alone.look(pools=["*"], limit={}, dry_run=True)
    assert state.is_completed()
    assert "It would be refused: " in state.message
    assert [pool.records(of="shadow") for pool in alone.pools] == [[]] * 6
    assert alone.variables("poolkeeper_incident") == []


async def test_more_actions_than_are_allowed_are_refused(alone: Breaker) -> None:
    state = await alone.look(pools=["*"], limit={"max_share": 1, "max_actions": 2})
    assert state.is_failed()
    assert "at most 2 are allowed at once" in state.message
    assert not any(pool.is_paused for pool in alone.pools)


class Died(BaseException):
    """As when a process is killed: nothing of the flow handles it."""


async def dies(*_: Any, **__: Any) -> None:
    raise Died


def dead_after(monkeypatch: pytest.MonkeyPatch, time: timedelta) -> None:
    for module in (turning, upkeep):
        monkeypatch.setattr(module, "DEAD_AFTER", time)


def is_phase(pool: Pool, phase: str) -> bool:
    """Whether nothing else is kept of the pool than that this phase has begun."""
    return [(record["phase"], record["applied"]) for record in pool.records()] == [(phase, True)]


def ripen(pool: Pool, phase: str) -> None:
    """Have everything happen that the next phase waits for."""
    if phase == "open":
        pool.fail(4)
    elif phase == "half-open":
        pool.wait_until_over()
    else:
        pool.wait_for_trial()
        pool.succeed(3)


def meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two runs come to the moment of writing a turn down together; none waits in vain for long."""
    both, arrived = asyncio.Event(), []

    async def together(*arguments: Any, **options: Any) -> Any:
        arrived.append(arguments)
        if len(arrived) > 1:
            both.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(both.wait(), 3)
        return await circuits.keep_new(*arguments, **options)

    monkeypatch.setattr(turning, "keep_new", together)


def touch(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Have something happen between a look and what comes of it."""
    read_gate = gates.read_gate

    async def touched(*arguments: Any) -> Any:
        act()
        return await read_gate(*arguments)

    monkeypatch.setattr(turning, "read_gate", touched)


def every_outcome(pool: Pool) -> list[str]:
    """What became of the actions of all looks at the pool."""
    key = f"pool-auto-pause-{pool.name}-table"
    found = pool.rest.everything("/artifacts/filter", artifacts={"key": {"any_": [key]}})
    return [row["outcome"] for artifact in found for row in json.loads(artifact["data"]) if row["outcome"]]


def incidents(breaker: Breaker) -> list[Row]:
    return list(breaker.rest.ask("/events/filter", filter={"event": {"name": [INCIDENT]}})["events"])

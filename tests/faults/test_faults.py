"""Every job under every fault, at each of its writes: nothing lost, nothing done twice, nothing told otherwise."""

import time
from typing import Any

import pytest

from tests.faults.choice import Choose, at_read, at_write, sample
from tests.faults.jobs import JOBS, Case, World, told
from tests.faults.proxy import FAULTS, Proxy
from tests.faults.table import Tried

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.usefixtures("short_pages", "dead_at_once")]

# After these the flow cannot know by itself whether its change was made: they are tried at every write.
EVERYWHERE = ("lost", "500", "504", "truncated")
# The others are tried at so many writes, and all of them at so many reads.
WRITES, READS = 3, 2
# Prefect's client waits for 2 seconds before it tries again, and a flow looks again at what it could not tell.
LONGEST_SECONDS = 60
END = {"COMPLETED", "FAILED"}


async def clean(world: World, proxy: Proxy, job: str) -> tuple[Any, int, int, int]:
    """How everything stands after a run without faults; how often it read and wrote, and how much it did."""
    (case,) = await JOBS[job](world, 1)
    proxy.clear()
    state = await case.run()
    assert state.is_completed(), state.message
    reads, writes = len(proxy.reads), len(proxy.writes)
    return case.stands(), reads, writes, len(actions(world, state))


def actions(world: World, state: Any) -> list[dict[str, Any]]:
    rows = told(world.rest, str(state.state_details.flow_run_id))
    return [row for row in rows or [] if row.get("outcome")]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("job", JOBS)
async def test_whatever_fails_on_the_way_all_is_as_if_nothing_had(
    world: World, proxy: Proxy, tried: Tried, job: str, fault: str
) -> None:
    right, reads, writes, number = await clean(world, proxy, job)
    at_writes = range(writes) if fault in EVERYWHERE else sample(range(writes), WRITES)
    places: list[tuple[str, Choose]] = [(f"write {at}", at_write(at, fault)) for at in at_writes]
    places += [(f"read {at}", at_read(at, fault)) for at in sample(range(reads), READS)]
    cases = await JOBS[job](world, len(places))
    for (place, choose), case in zip(places, cases, strict=True):
        proxy.clear()
        proxy.choose = choose
        begun = time.monotonic()
        state = await case.run()
        assert time.monotonic() - begun < LONGEST_SECONDS, place
        what = f"{job}, {fault} at {place} ({hit(proxy, place)}): {state.type.value} {state.message}"
        proxy.clear()
        is_told_right(world, case, state, right, number, what)
        await settle(world, case, state)
        assert case.stands() == right, what
        tried.note(job, fault, state.type.value)


def hit(proxy: Proxy, place: str) -> str:
    return next((str(each) for each in proxy.requests if str(each).startswith(f"{place}:")), "never reached")


def is_told_right(world: World, case: Case, state: Any, right: Any, number: int, what: str) -> None:
    """The report and the run's end say what was done, and no more."""
    assert state.type.value in END, what
    assert "encountered an exception" not in state.message, what
    rows = told(world.rest, str(state.state_details.flow_run_id))
    if state.is_completed():
        assert rows is not None, what
    if case.entry in ("inventory", "preview"):
        if state.is_completed():
            assert {row["pool"] for row in rows or ()} == set(right), what
        return
    outcomes = [row["outcome"] for row in rows or () if row["outcome"]]
    if state.is_completed():
        assert set(outcomes) <= {"done", "skipped"}, what
        assert len(outcomes) == number, what
    if outcomes and "planned" not in outcomes:
        assert len(outcomes) == number, what
        assert set(outcomes) <= {"done", "skipped", "failed"}, what
    if outcomes and set(outcomes) == {"done"}:
        assert case.stands() == right, what


async def settle(world: World, case: Case, state: Any) -> None:
    """What comes after: the next scheduled run, or the person who asks again where it was not done."""
    was_done = {row["outcome"] for row in actions(world, state)} == {"done"}
    if case.entry in ("inventory", "preview") or (case.is_by_hand and was_done):
        return
    again = await case.run()
    assert again.is_completed() or case.is_by_hand, again.message

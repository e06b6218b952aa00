"""Every job under every fault, at each of its writes: nothing lost, nothing done twice, nothing told otherwise."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api import drain
from tests.faults.choice import Choose, at_first, at_read, at_write
from tests.faults.jobs import JOBS, Case, World, difference, pool_path, told
from tests.faults.proxy import FAULTS, Proxy
from tests.faults.table import Tried
from tests.faults.wire import Request

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.usefixtures("short_pages", "dead_at_once")]

# Prefect's client waits for 2 seconds before it tries again, and a flow looks again at what it could not tell.
LONGEST_SECONDS = 60
END = {"COMPLETED", "FAILED"}
LOOKING = ("inventory", "preview")
# Of what acts, these hit a read as well: whatever Prefect's client repeats by itself, it repeats for both.
AT_READS = ("500", "reset", "wrong")


@dataclass(frozen=True, slots=True)
class Clean:
    """How everything stands after a run without faults; how often it read, where it wrote, how many actions it took."""

    stands: Any
    reads: int
    writes: list[str]
    actions: int

    @property
    def changes(self) -> list[int]:
        """The writes that change something, and of those that leave a report the first and the last."""
        reports = [at for at, path in enumerate(self.writes) if path.startswith("/artifacts/")]
        return sorted({*range(len(self.writes))} - {*reports[1:-1]})


cleans: dict[str, Clean] = {}


async def clean(world: World, proxy: Proxy, job: str) -> Clean:
    if job not in cleans:
        (case,) = await JOBS[job](world, 1)
        proxy.clear()
        state = await case.run()
        assert state.is_completed(), state.message
        cleans[job] = Clean(
            case.stands(), len(proxy.reads), [each.path for each in proxy.writes], len(actions(world, state))
        )
    return cleans[job]


def actions(world: World, state: Any) -> list[dict[str, Any]]:
    rows = told(world.rest, str(state.state_details.flow_run_id))
    return [row for row in rows or [] if row.get("outcome")]


def places(job: str, fault: str, usual: Clean) -> list[tuple[str, Choose]]:
    """A lost answer, which tells nothing, at every change; the others at one write, each at another; some at a read."""
    turn = list(JOBS).index(job) + 5 * list(FAULTS).index(fault)
    writes = usual.changes if fault == "lost" else [turn % len(usual.writes)]
    found = [(f"write {at}", at_write(at, fault)) for at in writes]
    if fault in AT_READS or job in LOOKING:
        at = turn % usual.reads
        found.append((f"read {at}", at_read(at, fault)))
    return found


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("job", JOBS)
async def test_whatever_fails_on_the_way_all_is_as_if_nothing_had(
    world: World, proxy: Proxy, tried: Tried, job: str, fault: str
) -> None:
    usual = await clean(world, proxy, job)
    chosen = places(job, fault, usual)
    cases = await JOBS[job](world, len(chosen))
    wrong = []
    for (place, choose), case in zip(chosen, cases, strict=True):
        proxy.clear()
        proxy.choose = choose
        begun = time.monotonic()
        state = await case.run()
        lasted = time.monotonic() - begun
        what = f"{job}, {fault} at {hit(proxy, place)}: {state.type.value} {state.message}"
        proxy.clear()
        problems = [*told_wrongly(world, case, state, usual)]
        problems += [f"took {lasted:.0f} s"] if lasted > LONGEST_SECONDS else []
        if fault == "403" and not await asyncio.to_thread(names_the_right, world, state):
            problems.append("does not say what is not permitted")
        problems += await settle(world, case, state)
        if (stands := case.stands()) != usual.stands:
            problems.append(f"in the end {difference(stands, usual.stands)}")
        wrong += [f"{what}: {problem}" for problem in problems]
        tried.note(job, fault, state.type.value)
    assert not wrong, "\n".join(wrong)


async def test_a_batch_that_is_refused_is_told_of_though_its_halves_are_not(world: World, proxy: Proxy) -> None:
    (case,) = await JOBS["cleanup"](world, 1)
    proxy.clear()
    proxy.choose = at_first("/flow_runs/bulk_delete", "403")
    state = await case.run()
    proxy.clear()
    assert state.is_completed(), state.message
    assert await asyncio.to_thread(names_the_right, world, state)


@pytest.mark.parametrize("job", LOOKING)
async def test_a_list_that_changes_between_two_pages_is_read_whole(
    world: World, proxy: Proxy, tried: Tried, job: str
) -> None:
    usual = await clean(world, proxy, job)
    (case,) = await JOBS[job](world, 1)
    first, *others = usual.stands
    proxy.clear()

    def goes(request: Request) -> None:
        """The first work pool goes once the first page has been read, and all others move up."""
        if request.path == "/work_pools/filter" and world.rest.get(pool_path(first)).is_success:
            world.rest.delete_pool(first)

    proxy.after = goes
    state = await case.run()
    proxy.clear()
    tried.note(job, "moving page", state.type.value)
    rows = told(world.rest, str(state.state_details.flow_run_id))
    assert not world.rest.get(pool_path(first)).is_success
    # The next case makes the fleet whole.
    for each in LOOKING:
        cleans.pop(each, None)
    if state.is_completed():
        assert {row["pool"] for row in rows or ()} - {first} == set(others)
    else:
        assert first in state.message


def hit(proxy: Proxy, place: str) -> str:
    return next((str(each) for each in proxy.requests if str(each).startswith(f"{place}:")), "never reached")


def names_the_right(world: World, state: Any) -> bool:
    """In the run's end, in its table, or, of what only rounds it off, in its log."""
    run = str(state.state_details.flow_run_id)
    drain()
    logs = world.rest.everything("/logs/filter", logs={"flow_run_id": {"any_": [run]}})
    return "does not permit to" in f"{state.message} {told(world.rest, run)} {[row['message'] for row in logs]}"


def told_wrongly(world: World, case: Case, state: Any, usual: Clean) -> Iterator[str]:
    """Where the report and the run's end say something else than what was done."""
    rows = told(world.rest, str(state.state_details.flow_run_id))
    outcomes = [row["outcome"] for row in rows or () if row.get("outcome")]
    if state.type.value not in END or "encountered an exception" in state.message:
        yield "ended without an answer"
    if state.is_completed() and rows is None:
        yield "completed without a report"
    if case.entry in LOOKING:
        if state.is_completed() and {row["pool"] for row in rows or ()} != set(usual.stands):
            yield f"a part is reported as the whole: {rows}"
        return
    if state.is_completed() and not set(outcomes) <= {"done", "skipped"}:
        yield f"completed, with {outcomes}"
    if rows is not None and len(outcomes) != usual.actions:
        yield f"of {usual.actions} actions {len(outcomes)} are reported: {outcomes}"
    stands = case.stands()
    if set(outcomes) == {"done"} and stands != usual.stands:
        yield f"reported as done, and it stands {difference(stands, usual.stands)}"
    if "skipped" in outcomes and stands == usual.stands:
        skipped = [row["reason"] for row in rows or () if row["outcome"] == "skipped"]
        yield f"done, and reported as skipped: {skipped[:3]}"


async def settle(world: World, case: Case, state: Any) -> list[str]:
    """What comes after: the next scheduled run, or the person who asks again where it was not done."""
    is_done = {row["outcome"] for row in actions(world, state)} == {"done"}
    if case.entry in LOOKING or is_done:
        return []
    again = await case.run()
    return [] if again.is_completed() or case.is_by_hand else [f"then {again.message}"]

"""Runs that ended long ago: read oldest first, with what decides whether they may go."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import cache
from sys import intern

from flows.policy.cleanup.finished_runs import ENDED, FinishedFacts, FinishedRun, Past, keep_reason, sift
from flows.policy.cleanup.kinds import Scope
from flows.prefect_api.client import Api, decode, instant
from flows.prefect_api.flow_runs import UNFINISHED, Filter, count_runs, in_states, read_run_rows, read_runs_as
from flows.prefect_api.histories import Histories
from flows.prefect_api.paging import PAGE, Row, read_all

# So many are read and judged at a time, whatever there are: what may go stays in memory, the others do not.
WINDOW = 5_000
# Before the first release of Prefect nothing ended.
BEGINNING = datetime(2018, 1, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


async def observe_finished_runs(api: Api, scope: Scope, *, most: int) -> FinishedFacts:
    """The runs that ended before the cutoff, the oldest first, until `most` of them may go."""
    cutoff = scope.now - scope.retention.finished
    parents = await busy_parents(api)
    histories = Histories(api, scope)
    free: list[FinishedRun] = []
    kept: Counter[str] = Counter()
    read = 0
    total = await _count(api, scope, None, cutoff)
    async for runs in _oldest_first(api, scope, cutoff, min(WINDOW, max(most, PAGE))):
        open_to_go = [run for run in runs if not keep_reason(run, Past(parents=parents), scope)]
        window, reasons = sift(runs, Past(await histories.of(open_to_go), parents), scope)
        free += window
        kept += reasons
        read += len(runs)
        if len(free) >= most:
            break
    return FinishedFacts(tuple(free[:most]), kept, max(0, total - read) + len(free[most:]))


def finished_runs(rows: list[Row]) -> list[FinishedRun]:
    return decode(rows, "flow run", _finished_run)


def _finished_run(row: Row) -> FinishedRun:
    """What many runs share is kept once: there may be a hundred thousand of them."""
    pool, deployment = row.get("work_pool_name"), row.get("deployment_id")
    return FinishedRun(
        id=row["id"],
        name=row["name"],
        pool=intern(pool) if pool else None,
        deployment_id=intern(deployment) if deployment else None,
        state_type=intern(row["state_type"]),
        state_name=intern(row["state_name"]),
        ended_at=instant(row.get("end_time")) or _since(row),
        tags=_tags(tuple(sorted(row["tags"]))),
    )


@cache
def _tags(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(tags)


def _since(row: Row) -> datetime:
    """Since when it is in its state: for a run that never got an end time."""
    return instant((row.get("state") or {}).get("timestamp")) or datetime.fromisoformat(row["created"])


async def _oldest_first(api: Api, scope: Scope, before: datetime, window: int) -> AsyncIterator[list[FinishedRun]]:
    """All runs that ended before that time, a window after the other, each about so many of them."""
    start: datetime | None = None
    pools = None if scope.includes_no_pool else scope.names
    while start is None or start < before:
        end = await _window_end(api, scope, start, before, window)
        runs = await read_runs_as(finished_runs, api, _ended_between(start, end), pools)
        # What ended at the very moment at which the window begins was in the one before.
        yield [run for run in runs if start is None or run.ended_at > start]
        start = end


async def _window_end(api: Api, scope: Scope, start: datetime | None, before: datetime, window: int) -> datetime:
    """The end of the window that begins there: a time up to which not much more than `window` runs ended."""
    if await _count(api, scope, start, before) <= window:
        return before
    low, high = start or BEGINNING, before
    while high - low > MOMENT:
        middle = low + (high - low) / 2
        count = await _count(api, scope, start, middle)
        if window / 2 <= count <= window:
            return middle
        low, high = (middle, high) if count < window else (low, middle)
    return high


async def _count(api: Api, scope: Scope, start: datetime | None, end: datetime) -> int:
    return await count_runs(api, _ended_between(start, end), None if scope.includes_no_pool else scope.names)


def _ended_between(start: datetime | None, end: datetime) -> Filter:
    bounds = {"before_": end.isoformat()} | ({"after_": start.isoformat()} if start else {})
    return {**in_states(*ENDED), "end_time": bounds}


async def busy_parents(api: Api) -> frozenset[str]:
    """The runs that have a subflow which has not ended, or whose subflow has one."""
    children = {**in_states(*UNFINISHED), "parent_task_run_id": {"is_null_": False}}
    rows = await read_run_rows(api, children)
    parents: set[str] = set()
    while rows:
        tasks = sorted({row["parent_task_run_id"] for row in rows if row.get("parent_task_run_id")})
        found = {
            str(task["flow_run_id"])
            for start in range(0, len(tasks), PAGE)
            for task in await read_all(
                api,
                "/task_runs/filter",
                {"task_runs": {"id": {"any_": tasks[start : start + PAGE]}}, "sort": "ID_DESC"},
            )
            if task.get("flow_run_id")
        } - parents
        parents |= found
        rows = await read_run_rows(api, {"id": {"any_": sorted(found)}}) if found else []
    return frozenset(parents)

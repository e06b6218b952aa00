"""Runs that ended long ago: read oldest first, with what decides whether they may go, and deleted fifty at a time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from sys import intern
from typing import Any

from flows.policy.cleanup.finished_runs import (
    ENDED,
    FAILURES,
    FinishedFacts,
    FinishedRun,
    History,
    Past,
    keep_reason,
    sift,
)
from flows.policy.cleanup.kinds import Scope
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verdict
from flows.prefect_api.client import Api, Refused, ServerFailed, decode, instant
from flows.prefect_api.deployments import count_deployments
from flows.prefect_api.flow_runs import UNFINISHED, Filter, count_runs, in_states, read_run_rows
from flows.prefect_api.paging import PAGE, Row, read_all

# So many are read and judged at a time, whatever there are: what may go stays in memory, the others do not.
WINDOW = 5_000
# Before the first release of Prefect nothing ended.
BEGINNING = datetime(2018, 1, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
CANCELLED = "CANCELLED"


async def observe_finished_runs(api: Api, scope: Scope, *, most: int) -> FinishedFacts:
    """The runs that ended before the cutoff, the oldest first, until `most` of them may go."""
    cutoff = scope.now - scope.retention.finished
    past = Past(parents=await _busy_parents(api))
    free: list[FinishedRun] = []
    kept: Counter[str] = Counter()
    read = 0
    total = await _count(api, scope, None, cutoff)
    async for rows in _oldest_first(api, scope, cutoff):
        runs = decode(rows, "flow run", finished_run)
        past = await _with_histories(api, past, runs, scope)
        window, reasons = sift(runs, past, scope)
        free += window
        kept += reasons
        read += len(runs)
        if len(free) >= most:
            break
    return FinishedFacts(tuple(free[:most]), kept, max(0, total - read) + len(free[most:]))


@dataclass(frozen=True, slots=True)
class FinishedRuns:
    """Deletes what was decided, for `apply`. `gone` counts the `task_runs` that went with the runs."""

    api: Api
    scope: Scope
    facts: FinishedFacts
    gone: Counter[str] = field(default_factory=Counter)

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        """Delete those that are still as they were seen. One that cannot be deleted does not keep the others."""
        ids = [verdict.target.id for verdict in verdicts]
        there = await self._changed(ids)
        wanted = [each for each in ids if there.get(each) == ""]
        task_runs = await self._count_task_runs(wanted)
        deleted, failed = await self._delete(wanted)
        # Nothing is said of them: the answer to their deletion was lost, or another run has deleted them.
        unsaid = [each for each in wanted if each not in deleted and each not in failed]
        stay = {row["id"] for row in await read_run_rows(self.api, {"id": {"any_": unsaid}})} if unsaid else set()
        self.gone["task_runs"] += task_runs if deleted else 0

        def outcome(verdict: Verdict) -> Outcome:
            each = verdict.target.id
            if each in deleted:
                return Outcome(verdict, Result.DONE)
            if each in failed:
                return Outcome(verdict, Result.FAILED, failed[each])
            if each not in there or (each in unsaid and each not in stay):
                return Outcome(verdict, Result.DONE, ALREADY_GONE)
            return Outcome(verdict, Result.SKIPPED, there[each] or "it changed meanwhile")

        return [outcome(verdict) for verdict in verdicts]

    async def _count_task_runs(self, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        count: int = await self.api.read("/task_runs/count", {"flow_runs": {"id": {"any_": list(ids)}}})
        return count

    async def _changed(self, ids: Sequence[str]) -> dict[str, str]:
        """Of those that are still there, what keeps them from being deleted now; "" where nothing does."""
        seen = {run.id: run for run in self.facts.runs if run.id in set(ids)}
        now = decode(await read_run_rows(self.api, {"id": {"any_": list(ids)}}), "flow run", finished_run)
        past = Past(parents=await _busy_parents(self.api))
        return {run.id: _difference(seen[run.id], run) or keep_reason(run, past, self.scope) for run in now}

    async def _delete(self, ids: Sequence[str]) -> tuple[set[str], dict[str, str]]:
        """The ids that were deleted, and why which could not be. Where a batch fails it is halved."""
        if not ids:
            # An empty filter would mean every run there is.
            return set(), {}
        ended = {**in_states(*ENDED), "id": {"any_": list(ids)}}
        try:
            answer = await self.api.write("POST", "/flow_runs/bulk_delete", {"flow_runs": ended})
        except (ServerFailed, Refused) as problem:
            if len(ids) == 1:
                return set(), {ids[0]: str(problem)}
            first = await self._delete(ids[: len(ids) // 2])
            second = await self._delete(ids[len(ids) // 2 :])
            return first[0] | second[0], first[1] | second[1]
        return set(answer["deleted"]), {}


def finished_run(row: Row) -> FinishedRun:
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


def _difference(seen: FinishedRun, now: FinishedRun) -> str:
    if (seen.state_type, seen.state_name, seen.ended_at) != (now.state_type, now.state_name, now.ended_at):
        return f"it changed meanwhile, now {now.state_name}"
    return "its tags changed meanwhile" if seen.tags != now.tags else ""


async def _oldest_first(api: Api, scope: Scope, before: datetime) -> AsyncIterator[list[Row]]:
    """All runs that ended before that time, a window after the other, each about `WINDOW` of them."""
    start: datetime | None = None
    pools = None if scope.includes_no_pool else scope.names
    while start is None or start < before:
        end = await _window_end(api, scope, start, before)
        rows = await read_run_rows(api, _ended_between(start, end), pools)
        # What ended at the very moment at which the window begins was in the one before.
        yield [row for row in rows if start is None or (instant(row["end_time"]) or before) > start]
        start = end


async def _window_end(api: Api, scope: Scope, start: datetime | None, before: datetime) -> datetime:
    """The end of the window that begins there: a time up to which not much more than `WINDOW` runs ended."""
    if await _count(api, scope, start, before) <= WINDOW:
        return before
    low, high = start or BEGINNING, before
    while high - low > MOMENT:
        middle = low + (high - low) / 2
        count = await _count(api, scope, start, middle)
        if WINDOW / 2 <= count <= WINDOW:
            return middle
        low, high = (middle, high) if count < WINDOW else (low, middle)
    return high


async def _count(api: Api, scope: Scope, start: datetime | None, end: datetime) -> int:
    return await count_runs(api, _ended_between(start, end), None if scope.includes_no_pool else scope.names)


def _ended_between(start: datetime | None, end: datetime) -> Filter:
    bounds = {"before_": end.isoformat()} | ({"after_": start.isoformat()} if start else {})
    return {**in_states(*ENDED), "end_time": bounds}


async def _with_histories(api: Api, past: Past, runs: Iterable[FinishedRun], scope: Scope) -> Past:
    """The past, with what is kept of the deployments of these runs; deployments that are gone keep nothing."""
    judged = [run for run in runs if run.deployment_id and not keep_reason(run, past, scope)]
    new = {run.deployment_id for run in judged if run.deployment_id} - past.histories.keys()
    there = await _existing(api, sorted(new))
    failing = {run.deployment_id for run in judged if run.state_type in FAILURES}
    read = await asyncio.gather(*(_history(api, each, scope, failed=each in failing) for each in there))
    histories = {**past.histories, **dict(zip(there, read, strict=True))}
    return replace(past, histories=await _with_failures(api, histories, failing - new, scope))


async def _with_failures(
    api: Api, histories: dict[str, History], failing: Collection[str | None], scope: Scope
) -> dict[str, History]:
    """The same, with the latest failure of those deployments whose failures were not asked for yet."""
    missing = [each for each in failing if each and each in histories and histories[each].latest_failure is None]
    if not scope.retention.keep_latest_failure:
        return histories
    found = await asyncio.gather(*(_latest_failure(api, each) for each in missing))
    return histories | {
        each: replace(histories[each], latest_failure=latest) for each, latest in zip(missing, found, strict=True)
    }


async def _history(api: Api, deployment_id: str, scope: Scope, *, failed: bool) -> History:
    last = await _ended_last(api, deployment_id, ENDED, scope.retention.keep_last)
    if CANCELLED in last.values():
        # Those that were cancelled while nobody could start them push no real run out.
        last |= await _ended_last(api, deployment_id, sorted({*ENDED} - {CANCELLED}), scope.retention.keep_last)
    failure = failed and scope.retention.keep_latest_failure
    return History(frozenset(last), await _latest_failure(api, deployment_id) if failure else None)


async def _latest_failure(api: Api, deployment_id: str) -> str | None:
    return next(iter(await _ended_last(api, deployment_id, sorted(FAILURES), 1)), None)


async def _ended_last(api: Api, deployment_id: str, types: Sequence[str], number: int) -> dict[str, str]:
    """The ids of so many of a deployment's runs, those that ended last, with their state types."""
    runs: dict[str, Any] = {
        **in_states(*types),
        "deployment_id": {"any_": [deployment_id]},
        "end_time": {"is_null_": False},
    }
    found: dict[str, str] = {}
    for offset in range(0, number, PAGE):
        most = min(PAGE, number - offset)
        body = {"flow_runs": runs, "sort": "END_TIME_DESC", "limit": most, "offset": offset}
        page: list[Row] = await api.read("/flow_runs/filter", body)
        found |= {row["id"]: row["state_type"] for row in page}
        if len(page) < most:
            break
    return found


async def _existing(api: Api, ids: Sequence[str]) -> list[str]:
    """Those of these deployments that are still there: counted, as reading them is slow."""
    if not ids:
        return []
    if len(ids) <= PAGE:
        count = await count_deployments(api, {"deployments": {"id": {"any_": list(ids)}}})
        if count in (0, len(ids)):
            return list(ids) if count else []
    half = len(ids) // 2
    return await _existing(api, ids[:half]) + await _existing(api, ids[half:])


async def _busy_parents(api: Api) -> frozenset[str]:
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

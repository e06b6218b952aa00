"""What is kept of deployments' pasts. Of many deployments at once it is asked what one count tells of all of them."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.policy.cleanup.finished_runs import ENDED, FAILURES, FinishedRun, History
from flows.policy.cleanup.kinds import Scope
from flows.prefect_api.client import Api
from flows.prefect_api.deployments import count_deployments
from flows.prefect_api.flow_runs import Filter, count_runs, in_states, of_deployment
from flows.prefect_api.paging import PAGE, Row

MOMENT = timedelta(microseconds=1)
CANCELLED = "CANCELLED"
NOT_CANCELLED = tuple(each for each in ENDED if each != CANCELLED)
# So many deployments go into one question. Where not all of them have what it asks for they are halved, until there are
# so few that each is asked about by itself.
MANY = 500
FEW = 100
# Failures are rarer than runs: of more deployments there would always be one that did not fail again.
FAILED_AGAIN = 8
# What is asked about the time after a run is asked about the time after this part of it, so that it also holds for
# runs that ended somewhat later.
MARGIN = 0.25


@dataclass(slots=True)
class Histories:
    """What was found out so far: which deployments there are, after when which of them have enough runs for all
    earlier ones to go, and of the others the exact past."""

    api: Api
    scope: Scope
    there: dict[str, bool] = field(default_factory=dict)
    busy_after: dict[str, datetime] = field(default_factory=dict)
    last: dict[str, frozenset[str]] = field(default_factory=dict)
    failures: dict[str, str | None] = field(default_factory=dict)

    async def of(self, runs: Sequence[FinishedRun]) -> dict[str, History]:
        """By the ids of the deployments that there are: what of their pasts keeps one of these runs.

        Runs of deployments that are gone are kept by nothing.
        """
        await self._look_which_are_there({run.deployment_id for run in runs if run.deployment_id} - self.there.keys())
        judged = [(run.deployment_id, run) for run in runs if run.deployment_id and self.there[run.deployment_id]]
        until = max((run.ended_at for _, run in judged), default=self.scope.now)
        await self._find_last({each for each, _ in judged} - self.last.keys(), until)
        failed = {each for each, run in judged if run.state_type in FAILURES}
        await self._find_failures(failed - self.failures.keys(), until)
        return {each: History(self.last.get(each, frozenset()), self.failures.get(each)) for each, _ in judged}

    async def _look_which_are_there(self, ids: Collection[str]) -> None:
        there = set(await _existing(self.api, sorted(ids)))
        self.there |= {each: each in there for each in ids}

    async def _find_last(self, ids: Collection[str], until: datetime) -> None:
        """Which runs are the last ones is asked only where there are too few later ones."""
        number = self.scope.retention.keep_last
        left = sorted(each for each in ids if self.busy_after.get(each, until) <= until)
        if number == 0 or not left:
            return
        after = until + MARGIN * (self.scope.now - until)
        # One run in each of so many spans of time are so many runs. Few deployments are counted at less cost.
        spans = list(_spans(after, self.scope.now, number)) if len(left) > number else []
        unsure = await _without(self.api, left, [in_states(*NOT_CANCELLED) | each for each in spans], MANY)
        quiet = await self._with_less_than(number, unsure, after)
        self.busy_after |= dict.fromkeys(set(left) - set(quiet), after)
        found = await asyncio.gather(*(self._last(each) for each in quiet))
        self.last |= dict(zip(quiet, found, strict=True))

    async def _with_less_than(self, number: int, ids: Sequence[str], after: datetime) -> list[str]:
        (later,) = _spans(after, self.scope.now, 1)
        runs = in_states(*NOT_CANCELLED) | later
        counts = await asyncio.gather(*(count_runs(self.api, runs | of_deployment(each)) for each in ids))
        return [each for each, count in zip(ids, counts, strict=True) if count < number]

    async def _last(self, deployment_id: str) -> frozenset[str]:
        number = self.scope.retention.keep_last
        last = await _ended_last(self.api, deployment_id, ENDED, number)
        if CANCELLED in last.values():
            # Those that were cancelled while nobody could start them push no real run out.
            last |= await _ended_last(self.api, deployment_id, NOT_CANCELLED, number)
        return frozenset(last)

    async def _find_failures(self, ids: Collection[str], until: datetime) -> None:
        """Nothing is remembered of those that failed later: no failure that ended by `until` is their latest."""
        if not self.scope.retention.keep_latest_failure:
            return
        (later,) = _spans(until, self.scope.now, 1)
        exact = await _without(self.api, sorted(ids), [in_states(*sorted(FAILURES)) | later], FAILED_AGAIN)
        found = await asyncio.gather(*(_ended_last(self.api, each, sorted(FAILURES), 1) for each in exact))
        self.failures |= {each: next(iter(latest), None) for each, latest in zip(exact, found, strict=True)}


def _spans(after: datetime, until: datetime, number: int) -> Iterator[Filter]:
    """The time between the two, `after` itself left out, in so many spans that have no moment in common."""
    length = (until - after) / number
    for place in range(number):
        begin, end = after + place * length + MOMENT, after + (place + 1) * length
        yield {"end_time": {"after_": begin.isoformat(), "before_": end.isoformat()}}


async def _without(api: Api, ids: Sequence[str], runs: Sequence[Filter], size: int) -> list[str]:
    """Of these deployments, those that perhaps do not have a run for each of these filters. Without filters: all."""
    if not runs:
        return list(ids)
    groups = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [each for found in await asyncio.gather(*(_unsure(api, group, runs) for group in groups)) for each in found]


async def _unsure(api: Api, ids: Sequence[str], runs: Sequence[Filter]) -> Sequence[str]:
    for place, each in enumerate(runs):
        count = await count_deployments(api, {"deployments": {"id": {"any_": list(ids)}}, "flow_runs": each})
        if count == len(ids):
            continue
        if len(ids) <= FEW or count < len(ids) / 2:
            return ids
        half = len(ids) // 2
        return [*await _unsure(api, ids[:half], runs[place:]), *await _unsure(api, ids[half:], runs[place:])]
    return ()


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


async def _ended_last(api: Api, deployment_id: str, types: Sequence[str], number: int) -> dict[str, str]:
    """The ids of so many of a deployment's runs, those that ended last, with their state types."""
    runs = in_states(*types) | of_deployment(deployment_id) | {"end_time": {"is_null_": False}}
    found: dict[str, str] = {}
    for offset in range(0, number, PAGE):
        most = min(PAGE, number - offset)
        body = {"flow_runs": runs, "sort": "END_TIME_DESC", "limit": most, "offset": offset}
        page: list[Row] = await api.read("/flow_runs/filter", body)
        found |= {row["id"]: row["state_type"] for row in page}
        if len(page) < most:
            break
    return found

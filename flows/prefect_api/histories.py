"""What is kept of deployments' pasts. Of many deployments at once it is asked what one count tells of all of them."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.policy.cleanup.finished_runs import ENDED, FAILURES, FinishedRun, History
from flows.policy.cleanup.kinds import Scope
from flows.prefect_api.client import Api
from flows.prefect_api.deployments import count_deployments
from flows.prefect_api.flow_runs import Filter, in_states
from flows.prefect_api.paging import PAGE, Row

MOMENT = timedelta(microseconds=1)
CANCELLED = "CANCELLED"
NOT_CANCELLED = tuple(each for each in ENDED if each != CANCELLED)
# So many deployments go into one question. Where not all of them have what is asked for it is halved, down to a FEW.
MANY = 500
FEW = 8


@dataclass(slots=True)
class Histories:
    """What was found out so far: which deployments there are, and of some the exact past."""

    api: Api
    scope: Scope
    there: dict[str, bool] = field(default_factory=dict)
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
        """Nothing is remembered of those that have enough later runs: none that ended by `until` is among the last."""
        number = self.scope.retention.keep_last
        left = sorted(ids)
        if number == 0:
            return
        pushed_out: set[str] = set()
        # One run in each of so many spans of time are so many runs.
        if len(left) > number:
            pushed_out = set(left)
            for span in _spans(until, self.scope.now, number):
                pushed_out = set(await _having(self.api, sorted(pushed_out), in_states(*NOT_CANCELLED) | span))
        exact = [each for each in left if each not in pushed_out]
        found = await asyncio.gather(*(self._last(each) for each in exact))
        self.last |= dict(zip(exact, found, strict=True))

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
        again = set(await _having(self.api, sorted(ids), in_states(*sorted(FAILURES)) | later))
        exact = [each for each in sorted(ids) if each not in again]
        found = await asyncio.gather(*(_ended_last(self.api, each, sorted(FAILURES), 1) for each in exact))
        self.failures |= {each: next(iter(latest), None) for each, latest in zip(exact, found, strict=True)}


def _spans(after: datetime, until: datetime, number: int) -> Iterator[Filter]:
    """The time between the two, `after` itself left out, in so many spans that have no moment in common."""
    length = (until - after) / number
    for place in range(number):
        begin, end = after + place * length + MOMENT, after + (place + 1) * length
        yield {"end_time": {"after_": begin.isoformat(), "before_": end.isoformat()}}


async def _having(api: Api, ids: Sequence[str], runs: Filter) -> list[str]:
    """Deployments that surely have a run that the filter selects. Where only some of a few have one, none is told."""
    if len(ids) > MANY:
        return await _having(api, ids[:MANY], runs) + await _having(api, ids[MANY:], runs)
    if not ids:
        return []
    count = await count_deployments(api, {"deployments": {"id": {"any_": list(ids)}}, "flow_runs": runs})
    if count == len(ids):
        return list(ids)
    if len(ids) <= FEW or count < len(ids) / 2:
        return []
    half = len(ids) // 2
    return await _having(api, ids[:half], runs) + await _having(api, ids[half:], runs)


async def _existing(api: Api, ids: Sequence[str]) -> list[str]:
    """Those of these deployments that are still there: counted, as reading them is slow."""
    if not ids:
        return []
    if len(ids) <= MANY:
        count = await count_deployments(api, {"deployments": {"id": {"any_": list(ids)}}})
        if count in (0, len(ids)):
            return list(ids) if count else []
    half = len(ids) // 2
    return await _existing(api, ids[:half]) + await _existing(api, ids[half:])


async def _ended_last(api: Api, deployment_id: str, types: Sequence[str], number: int) -> dict[str, str]:
    """The ids of so many of a deployment's runs, those that ended last, with their state types."""
    runs: Filter = {
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

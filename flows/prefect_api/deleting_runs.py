"""Deletes runs that ended long ago, fifty at a time: each only if it is, at that moment, as it was seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from prefect import get_run_logger

from flows.policy.cleanup.finished_runs import ENDED, FinishedFacts, FinishedRun, Past, keep_reason
from flows.policy.cleanup.kinds import Scope
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verdict
from flows.prefect_api.client import Api, Refused, ServerFailed
from flows.prefect_api.finished_runs import busy_parents, finished_runs
from flows.prefect_api.flow_runs import Filter, in_states, read_runs_as

# What Prefect cannot check while it deletes (tags, subflows) is asked for so many runs at a time, and after so long
# again.
AHEAD = 500
STALE_SECONDS = 5.0


@dataclass(slots=True)
class FinishedRuns:
    """Deletes what was decided, for `apply`. `gone` counts the `task_runs` that went with the runs."""

    api: Api
    scope: Scope
    facts: FinishedFacts
    gone: Counter[str] = field(default_factory=Counter)
    _places: Mapping[str, int] = field(init=False)
    _ahead: "Ahead | None" = None
    _has_told: bool = False

    def __post_init__(self) -> None:
        self._places = {run.id: place for place, run in enumerate(self.facts.runs)}

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        """Delete those that are still as they were seen. One that cannot be deleted does not keep the others."""
        ids = [verdict.target.id for verdict in verdicts]
        ahead = await self._look_ahead(ids)
        wanted = [each for each in ids if each not in ahead.kept]
        task_runs = await self._count_task_runs(wanted) if ahead.have_task_runs else 0
        deleted, failed = await self._delete(wanted)
        self.gone["task_runs"] += task_runs if deleted else 0
        there = await self._changed([each for each in ids if each not in deleted and each not in failed])

        def outcome(verdict: Verdict) -> Outcome:
            each = verdict.target.id
            if each in deleted:
                return Outcome(verdict, Result.DONE)
            if each in failed:
                return Outcome(verdict, Result.FAILED, failed[each])
            if each not in there:
                return Outcome(verdict, Result.DONE, ALREADY_GONE)
            return Outcome(verdict, Result.SKIPPED, there[each] or "it changed meanwhile")

        return [outcome(verdict) for verdict in verdicts]

    async def _look_ahead(self, ids: Sequence[str]) -> "Ahead":
        """What keeps these runs and the ones after them, found out lately."""
        now = anyio.current_time()
        if self._ahead and self._ahead.ids.issuperset(ids) and now - self._ahead.at < STALE_SECONDS:
            return self._ahead
        place = self._places[ids[0]]
        following = {run.id for run in self.facts.runs[place : place + AHEAD]}.union(ids)
        tags = self.scope.retention.keep_tags
        tagged: Filter = {"id": {"any_": sorted(following)}, "tags": {"any_": tags}}
        kept = {run.id for run in await read_runs_as(finished_runs, self.api, tagged)} if tags else set()
        kept |= await busy_parents(self.api)
        have_task_runs = await self._count_task_runs(sorted(following)) > 0
        self._ahead = Ahead(frozenset(following), frozenset(kept), have_task_runs, now)
        return self._ahead

    async def _count_task_runs(self, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        count: int = await self.api.read("/task_runs/count", {"flow_runs": {"id": {"any_": list(ids)}}})
        return count

    async def _changed(self, ids: Sequence[str]) -> dict[str, str]:
        """Of those that are still there, what keeps them from being deleted now; "" where nothing does."""
        if not ids:
            return {}
        now = await read_runs_as(finished_runs, self.api, {"id": {"any_": list(ids)}})
        past = Past(parents=await busy_parents(self.api))
        return {run.id: _difference(self._seen(run.id), run) or keep_reason(run, past, self.scope) for run in now}

    async def _delete(self, ids: Sequence[str]) -> tuple[set[str], dict[str, str]]:
        """The ids that were deleted, and why which could not be. Where a batch fails it is halved."""
        if not ids:
            # An empty filter would mean every run there is.
            return set(), {}
        try:
            answer = await self.api.write("POST", "/flow_runs/bulk_delete", {"flow_runs": self._as_seen(ids)})
        except (ServerFailed, Refused) as problem:
            if len(ids) == 1:
                return set(), {ids[0]: str(problem)}
            self._tell(problem)
            first = await self._delete(ids[: len(ids) // 2])
            second = await self._delete(ids[len(ids) // 2 :])
            return first[0] | second[0], first[1] | second[1]
        return set(answer["deleted"]), {}

    def _tell(self, problem: Exception) -> None:
        """Once a run: what a batch met with, its halves may be spared."""
        if not self._has_told:
            self._has_told = True
            get_run_logger().warning("Runs could not be deleted at once, and are in halves: %s", problem)

    def _seen(self, id_: str) -> FinishedRun:
        return self.facts.runs[self._places[id_]]

    def _as_seen(self, ids: Sequence[str]) -> Filter:
        """Selects those of these runs whose state is the one that was seen: a new one would have ended later."""
        runs = [self._seen(each) for each in ids]
        ends = [run.ended_at for run in runs]
        state = in_states(*ENDED)["state"] | {"name": {"any_": sorted({run.state_name for run in runs})}}
        bounds = {"after_": min(ends).isoformat(), "before_": max(ends).isoformat()}
        return {"id": {"any_": list(ids)}, "state": state, "end_time": bounds}


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was found out at that time about runs that are to be deleted: which are kept, by a tag or by a subflow,
    and whether any of them has task runs."""

    ids: frozenset[str]
    kept: frozenset[str]
    have_task_runs: bool
    at: float


def _difference(seen: FinishedRun, now: FinishedRun) -> str:
    if (seen.state_type, seen.state_name, seen.ended_at) != (now.state_type, now.state_name, now.ended_at):
        return f"it changed meanwhile, now {now.state_name}"
    return "its tags changed meanwhile" if seen.tags != now.tags else ""

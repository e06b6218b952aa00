"""What lost its work pool: deployments and runs, with what tells which pool it was; cancelled, and put back."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from flows.policy.cleanup.detached import (
    Cause,
    LooseDeployment,
    OrphanFacts,
    OrphanRun,
    doubt,
    is_served,
    queue_for,
)
from flows.policy.cleanup.kinds import Scope
from flows.policy.cleanup.orphans import kept
from flows.policy.plan import ALREADY_GONE, Kind, Outcome, Result, Target, Verdict
from flows.prefect_api.client import Api, NotFound, Refused, ServerFailed, decode, instant
from flows.prefect_api.deployments import ANY_POOL, read_named_rows, read_without_pool
from flows.prefect_api.flow_runs import Filter, in_states, read_run_rows, was_expected
from flows.prefect_api.former_pools import former_pools
from flows.prefect_api.paging import PAGE, Row, read_all
from flows.prefect_api.touches import EVENTS_TAKE
from flows.prefect_api.waiting import cancel_scheduled, cancelled_unless
from flows.prefect_api.work_pools import read_pool, read_queues

SCHEDULED = in_states("SCHEDULED")
ANY_DEPLOYMENT: dict[str, Any] = {"deployments": {}}
# The search for single runs among many ends after so many steps, each of four counts.
MOST_STEPS = 200
BEGINNING, END = datetime(2018, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
NEW = timedelta(minutes=5)
CANCELLED = "Cancelled by Poolkeeper: no worker and no process would ever have started it."


async def observe_orphans(api: Api, scope: Scope) -> OrphanFacts:
    """What belongs to no pool; nothing where only some pools were asked for."""
    if not scope.includes_no_pool:
        return OrphanFacts()
    known, unread = await read_without_pool(api)
    waiting = {each.id: each.scheduled_runs for each in known}
    rows = [row for row in await read_named_rows(api, list(waiting)) if row.get("work_queue_id") is None]
    found = decode(rows, "deployment", _loose_deployment)
    loose = [replace(each, scheduled_runs=waiting[each.target.id]) for each in found]
    former = await former_pools(api, [each for each in loose if not is_served(each, scope.now)])
    new = [each for each in loose if each.target.id not in former and scope.now - each.created_at < NEW]
    if new:
        # What was deployed just now may have lost its pool just now: the events of that are still on their way.
        await anyio.sleep(EVENTS_TAKE.total_seconds())
        former |= await former_pools(api, [each for each in new if not is_served(each, scope.now)])
    deployments = tuple(replace(each, former=former.get(each.target.id)) for each in loose)
    sure = [each.target.id for each in deployments if not doubt(each, scope.now)]
    rows = await read_run_rows(api, SCHEDULED | _of(sure)) if sure else []
    # A run that still has a queue is run from there.
    detached = _orphans((row for row in rows if row.get("work_queue_id") is None), "detached")
    others, unread_runs = await _Search(api, frozenset(waiting)).find()
    there = sorted({each.name for each in former.values()} & set(scope.names))
    queues = await read_queues(api, there, pools_on_server=len(scope.pools)) if there else {}
    names = {name: frozenset(queue.name for queue in of_pool) for name, of_pool in queues.items()}
    return OrphanFacts(deployments, (*detached, *others), names, unread, unread_runs)


def _loose_deployment(row: Row) -> LooseDeployment:
    return LooseDeployment(
        target=Target(Kind.DEPLOYMENT, row["full_name"], row["id"]),
        created_at=datetime.fromisoformat(row["created"]),
        updated_at=datetime.fromisoformat(row["updated"]),
        last_polled_at=instant(row.get("last_polled")),
        queue=row.get("work_queue_name"),
    )


def _of(ids: Iterable[str]) -> Filter:
    return {"deployment_id": {"any_": sorted(ids)}}


def _orphans(rows: Iterable[Row], cause: Cause) -> list[OrphanRun]:
    return decode(rows, "flow run", lambda row: _orphan(row, cause))


def _orphan(row: Row, cause: Cause) -> OrphanRun:
    due = [instant(row.get(name)) for name in ("expected_start_time", "next_scheduled_start_time")]
    return OrphanRun(
        target=Target(Kind.RUN, row["name"], row["id"], row.get("work_pool_name")),
        deployment_id=row["deployment_id"],
        cause=cause,
        state_id=row["state_id"],
        state_name=row["state_name"],
        due_at=max((at for at in due if at), default=datetime.fromisoformat(row["created"])),
        auto_scheduled=row["auto_scheduled"],
        starts=row["run_count"],
        queue=row.get("work_queue_name"),
        tags=frozenset(row["tags"]),
    )


@dataclass(slots=True)
class _Search:
    """Finds the scheduled runs of deployments that are deleted, and those without queue of deployments that have one.

    No filter finds them. So time is halved until what remains differs between all runs and those that are accounted
    for: few counts for few runs.
    """

    api: Api
    loose: frozenset[str]
    steps: int = 0

    async def find(self) -> tuple[list[OrphanRun], int]:
        """The runs, and how many more there are than could be searched for."""
        found, unread = await self._between(BEGINNING, END)
        # What is due at the moment between two halves is in both.
        return list({run.target.id: run for run in found}.values()), unread

    async def _between(self, start: datetime, end: datetime) -> tuple[list[OrphanRun], int]:
        runs = SCHEDULED | was_expected(after=start, before=end) | {"deployment_id": {"is_null_": False}}
        total, missing = await self._count(runs)
        if missing <= 0:
            return [], 0
        if self.steps >= MOST_STEPS:
            return [], missing
        self.steps += 1
        if total <= PAGE or end - start < timedelta(milliseconds=1):
            return await self._read(runs), 0
        middle = start + (end - start) / 2
        first, second = await self._between(start, middle), await self._between(middle, end)
        return first[0] + second[0], first[1] + second[1]

    async def _count(self, runs: Filter) -> tuple[int, int]:
        """How many there are, and how many of them are neither on a queue nor of a deployment without one."""
        questions: list[dict[str, Any]] = [{"flow_runs": runs}, {"flow_runs": runs} | ANY_DEPLOYMENT | ANY_POOL]
        if self.loose:
            of_loose = {"flow_runs": runs | _of(self.loose)} | ANY_DEPLOYMENT
            questions += [of_loose, of_loose | ANY_POOL]
        total, healthy, *loose = await asyncio.gather(*(self.api.read("/flow_runs/count", each) for each in questions))
        return total, total - healthy - (loose[0] - loose[1] if loose else 0)

    async def _read(self, runs: Filter) -> list[OrphanRun]:
        body = {"flow_runs": runs, "sort": "ID_DESC"}
        rows = await read_all(self.api, "/flow_runs/filter", body)
        there = {row["deployment_id"] for row in await read_all(self.api, "/flow_runs/filter", body | ANY_DEPLOYMENT)}
        doubtful = {row["deployment_id"] for row in rows} - there
        # A run that was made, started or deleted between the two lists tells nothing of its deployment.
        there |= {row["id"] for row in await read_named_rows(self.api, sorted(doubtful))} | self.loose
        lost = (row for row in rows if row.get("work_queue_id") is None and row["deployment_id"] not in self.loose)
        gone = (row for row in rows if row["deployment_id"] not in there)
        return _orphans(gone, "gone") + _orphans((row for row in lost if row["deployment_id"] in there), "lost")


@dataclass(frozen=True, slots=True)
class OrphanedRuns:
    """Cancels what was decided, for `apply`."""

    api: Api
    scope: Scope
    facts: OrphanFacts

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        """Cancel those that are as they were seen, and whose deployments are; at most fifty at once."""
        ids = [verdict.target.id for verdict in verdicts]
        changed = await self._changed(ids)
        wanted = [each for each in ids if changed.get(each) == ""]
        cancelled = await cancel_scheduled(self.api, wanted, CANCELLED)
        return await cancelled_unless(changed, self.api, verdicts, cancelled, CANCELLED)

    async def _changed(self, ids: Sequence[str]) -> dict[str, str]:
        """Of those that are still there, what keeps them from being cancelled now; "" where nothing does."""
        seen = {run.target.id: run for run in self.facts.runs if run.target.id in set(ids)}
        of = await read_named_rows(self.api, sorted({run.deployment_id for run in seen.values()}))
        deployments = {row["id"]: row for row in of}
        # The runs last: what has just been taken by somebody shows on them.
        rows = await read_run_rows(self.api, {"id": {"any_": list(ids)}})
        return {row["id"]: self._difference(seen[row["id"]], row, deployments) for row in rows}

    def _difference(self, seen: OrphanRun, row: Row, deployments: dict[str, Row]) -> str:
        (now,) = _orphans([row], seen.cause)
        known = {each.target.id: each for each in self.facts.deployments}
        deployment, its_row = known.get(seen.deployment_id), deployments.get(seen.deployment_id)
        if now.state_id != seen.state_id:
            return f"it changed meanwhile, now {now.state_name}"
        if now.target.pool != seen.target.pool:
            return f"its work pool changed meanwhile, now {now.target.pool or 'none'}"
        if seen.cause == "gone" and its_row:
            return "its deployment is there again"
        # Where the deployment was deleted meanwhile, nobody starts its runs any more.
        difference = _difference(deployment, its_row) if deployment and its_row else ""
        return f"its deployment: {difference}" if difference else kept(now, deployment, self.scope)


@dataclass(frozen=True, slots=True)
class OrphanedDeployments:
    """Puts deployments back into their pools, for `apply`."""

    api: Api
    scope: Scope
    facts: OrphanFacts

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        """Put back those that are as they were seen. One that cannot be does not keep the others."""
        seen = {each.target.id: each for each in self.facts.deployments}
        return [Outcome(verdict, *await self._put_back(seen[verdict.target.id])) for verdict in verdicts]

    async def _put_back(self, seen: LooseDeployment) -> tuple[Result, str]:
        former = seen.former
        rows = await read_named_rows(self.api, [seen.target.id])
        if not rows:
            return Result.DONE, ALREADY_GONE
        difference = _difference(seen, rows[0])
        pool = await read_pool(self.api, former.name) if former and not difference else None
        if pool is None or former is None or pool.type != former.type:
            return Result.SKIPPED, difference or (f"its work pool is {pool.type}" if pool else "its work pool is gone")
        try:
            await self.api.write("PATCH", f"/deployments/{seen.target.id}", await self._place(seen, pool.name))
        except NotFound:
            return Result.DONE, ALREADY_GONE
        except (ServerFailed, Refused) as problem:
            return Result.FAILED, str(problem)
        return Result.DONE, ""

    async def _place(self, deployment: LooseDeployment, pool: str) -> dict[str, Any]:
        """Where it goes. A queue that is gone again is not named, as Prefect would make it."""
        queue = queue_for(deployment, self.facts)
        there = (await read_queues(self.api, [pool], pools_on_server=len(self.scope.pools)))[pool] if queue else []
        return {"work_pool_name": pool} | ({"work_queue_name": queue} if queue in {each.name for each in there} else {})


def _difference(seen: LooseDeployment, row: Row) -> str:
    """What changed about a deployment since it was seen, so that something may start its runs after all."""
    if row.get("work_queue_id") is not None:
        return f"it is in work pool '{row.get('work_pool_name')}' meanwhile"
    (now,) = decode([row], "deployment", _loose_deployment)
    if now.last_polled_at != seen.last_polled_at:
        return "a process serves it meanwhile"
    return "it changed meanwhile" if now.updated_at != seen.updated_at else ""

"""Workers, work queues and work pools that nothing uses: read, archived, and deleted one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flows.policy.cleanup.idle_pools import SeenPool, decide_idle_pools, read_mark, with_mark, without_mark
from flows.policy.cleanup.kinds import Found, Scope
from flows.policy.cleanup.unused import SeenQueue, SeenWorker, decide_empty_queues, decide_offline_workers
from flows.policy.facts import PoolFacts
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verb, Verdict
from flows.prefect_api.archive import forget_archive
from flows.prefect_api.client import Api, NotFound, decode, instant
from flows.prefect_api.deployments import count_deployments
from flows.prefect_api.flow_runs import UNFINISHED, Filter, in_states
from flows.prefect_api.paging import PAGE, Row, read_moving
from flows.prefect_api.paths import pool_path, queue_path, worker_path
from flows.prefect_api.work_pools import change_pool, heartbeat_of, read_pool
from flows.prefect_api.worker_memory import read_remembered, remember_workers

CHANGED = "it changed meanwhile: {}"
UNREACHABLE = "Its name holds what Prefect's API does not accept in an address, such as '/': it cannot be deleted."
Archiver = Callable[..., Awaitable[str]]


async def observe_workers(api: Api, scope: Scope) -> tuple[SeenWorker, ...]:
    """The workers of the selected pools."""
    ids = {pool.name: pool.id for pool in scope.pools}
    each = await asyncio.gather(*(_workers(api, pool, ids[pool]) for pool in scope.names))
    return tuple(worker for workers in each for worker in workers)


async def observe_queues(api: Api, scope: Scope) -> tuple[SeenQueue, ...]:
    """The work queues of the selected pools. Of those in use, that they are is all that is known."""
    each = await asyncio.gather(*(_queues(api, pool) for pool in scope.names))
    queues = [queue for queues in each for queue in queues]
    candidates = [queue.id for queue in queues if not queue.is_default]
    deployed = await _counted(candidates, lambda ids: count_deployments(api, _in_queues(ids)))
    busy = await _counted(candidates, lambda ids: _count_runs(api, _in_queues(ids), in_states(*UNFINISHED)))
    # The runs of a queue that is deleted leave its pool, and would tell no more that this was in use.
    ended = {"end_time": {"after_": (scope.now - scope.retention.idle).isoformat()}}
    rest = [each for each in candidates if each not in busy]
    lately = await _counted(rest, lambda ids: _count_runs(api, _in_queues(ids), ended))
    runs = {**busy, **lately}
    return tuple(replace(queue, deployments=deployed.get(queue.id, 0), runs=runs.get(queue.id, 0)) for queue in queues)


async def observe_idle_pools(api: Api, scope: Scope) -> tuple[SeenPool, ...]:
    """The selected pools. Once something uses a pool, it is not asked what else does."""
    protected = scope.protection.pools
    pools = {pool.name: pool for pool in scope.pools if pool.name not in protected}
    since = scope.now - scope.retention.idle
    deployed = await _counted(list(pools), lambda names: count_deployments(api, _of_pools(names)))
    rest = [name for name in pools if name not in deployed]
    unfinished = await _counted(rest, lambda names: _count_runs(api, _of_pools(names), in_states(*UNFINISHED)))
    rest = [name for name in rest if name not in unfinished]
    recent: dict[str, int] = {}
    for runs in ({"end_time": {"after_": since.isoformat()}}, {"expected_start_time": {"after_": since.isoformat()}}):
        recent |= await _counted(rest, lambda names, runs=runs: _count_runs(api, _of_pools(names), runs))  # type: ignore[misc]
        rest = [name for name in rest if name not in recent]
    seen = await asyncio.gather(*(_workers(api, name, pools[name].id) for name in rest))
    gone = await read_remembered(api) if rest else {}
    workers = {
        name: max((each.seen_at for each in found), default=gone.get(pools[name].id))
        for name, found in zip(rest, seen, strict=True)
    }
    return tuple(
        SeenPool(pool, deployed.get(name, 0), unfinished.get(name, 0), recent.get(name, 0), workers.get(name))
        for name, pool in pools.items()
    )


@dataclass(frozen=True, slots=True)
class OfflineWorkers:
    """Deletes the rows of workers, for `apply`."""

    api: Api
    scope: Scope
    facts: tuple[SeenWorker, ...]
    remembered: list[bool] = field(default_factory=list)

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        if not self.remembered:
            # Their rows are what tells that their pools were in use.
            await remember_workers(self.api, self.facts, self.scope.now)
            self.remembered.append(True)
        return [await self._clear(verdict) for verdict in verdicts]

    async def _clear(self, verdict: Verdict) -> Outcome:
        pool, name = verdict.target.pool or "", verdict.target.name.partition("/")[2]
        scope = await _as_of_now(self.api, self.scope)
        there = await self._there(verdict, pool)
        if not there:
            return Outcome(verdict, Result.DONE, ALREADY_GONE)
        if not _still(decide_offline_workers(there, scope), verdict):
            return Outcome(verdict, Result.SKIPPED, "it gave a sign of life meanwhile")
        try:
            await self.api.write("DELETE", worker_path(pool, name))
        except NotFound:
            return await self._not_found(verdict, pool)
        return Outcome(verdict, Result.DONE)

    async def _there(self, verdict: Verdict, pool: str) -> list[SeenWorker]:
        return [worker for worker in await _workers(self.api, pool, "") if worker.id == verdict.target.id]

    async def _not_found(self, verdict: Verdict, pool: str) -> Outcome:
        """Prefect's API finds workers by name alone, and some names it does not find."""
        if await self._there(verdict, pool):
            return Outcome(verdict, Result.FAILED, f"{UNREACHABLE} Rows like this stay until its work pool goes.")
        return Outcome(verdict, Result.DONE, ALREADY_GONE)


@dataclass(frozen=True, slots=True)
class EmptyQueues:
    """Archives and deletes work queues, for `apply`."""

    api: Api
    scope: Scope
    facts: tuple[SeenQueue, ...]
    archive: Archiver

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        return [await self._clear(verdict) for verdict in verdicts]

    async def _clear(self, verdict: Verdict) -> Outcome:
        pool, name = verdict.target.pool or "", verdict.target.name.partition("/")[2]
        scope = await _as_of_now(self.api, self.scope, pool)
        if use := await self._use(verdict, scope):
            return use
        kept = await self.archive(self.api, pool, name, reason=verdict.reason, now=scope.now)
        if use := await self._use(verdict, scope):
            await forget_archive(self.api, kept)
            return use
        await self.api.write("DELETE", queue_path(pool, name))
        return Outcome(verdict, Result.DONE, f"archived as {kept}")

    async def _use(self, verdict: Verdict, scope: Scope) -> Outcome | None:
        """What becomes of the queue where it is not to be deleted any more."""
        if _still(decide_empty_queues(await observe_queues(self.api, scope), scope), verdict):
            return None
        pool = verdict.target.pool or ""
        if any(queue.id == verdict.target.id for queue in await _queues(self.api, pool)):
            return Outcome(verdict, Result.SKIPPED, CHANGED.format("something uses it"))
        return Outcome(verdict, Result.DONE, ALREADY_GONE)


@dataclass(frozen=True, slots=True)
class IdlePools:
    """Marks work pools, takes marks away, archives and deletes, for `apply`."""

    api: Api
    scope: Scope
    facts: tuple[SeenPool, ...]
    archive: Archiver

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        return [await self._clear(verdict) for verdict in verdicts]

    async def _clear(self, verdict: Verdict) -> Outcome:
        before = next(each.pool for each in self.facts if each.pool.id == verdict.target.id)
        found = await self._look(verdict, before)
        if isinstance(found, Outcome):
            return found
        pool, scope = found
        if verdict.verb is Verb.DELETE:
            return await self._delete(verdict, pool, scope)
        marked = read_mark(pool.description) is None
        description = with_mark(pool.description, scope) if marked else without_mark(pool.description)
        await change_pool(self.api, pool.name, {"description": description})
        return Outcome(verdict, Result.DONE)

    async def _look(self, verdict: Verdict, before: PoolFacts) -> tuple[PoolFacts, Scope] | Outcome:
        """The pool and the question as they are now, or what becomes of it where something else is decided now."""
        pool = await read_pool(self.api, verdict.target.name)
        if pool is None or pool.id != verdict.target.id:
            return Outcome(verdict, Result.DONE, ALREADY_GONE)
        if pool.description != before.description:
            return Outcome(verdict, Result.SKIPPED, CHANGED.format("its description is another one"))
        scope = await _as_of_now(self.api, self.scope, pool.name, pool)
        (seen,) = await observe_idle_pools(self.api, scope)
        now = decide_idle_pools([seen], scope)
        if _still(now, verdict):
            return pool, scope
        words = now.verdicts[0].reason if now.verdicts else "something uses it"
        return Outcome(verdict, Result.SKIPPED, CHANGED.format(words))

    async def _delete(self, verdict: Verdict, pool: PoolFacts, scope: Scope) -> Outcome:
        kept = await self.archive(self.api, pool.name, reason=verdict.reason, now=scope.now)
        found = await self._look(verdict, pool)
        if isinstance(found, Outcome):
            await forget_archive(self.api, kept)
            return found
        await self.api.write("DELETE", pool_path(pool.name))
        return Outcome(verdict, Result.DONE, f"archived as {kept}")


def _still(found: Found, verdict: Verdict) -> bool:
    """Whether the same is decided now."""
    return any(each.target == verdict.target and each.verb is verdict.verb for each in found.verdicts)


async def _as_of_now(api: Api, scope: Scope, name: str | None = None, pool: PoolFacts | None = None) -> Scope:
    """The same question asked now, of one pool where one is named."""
    pools = scope.pools if name is None else tuple(each for each in scope.pools if each.name == name)
    return replace(scope, now=await api.server_time(), pools=(pool,) if pool else pools)


async def _counted(keys: Sequence[str], count: Callable[[Sequence[str]], Awaitable[int]]) -> Mapping[str, int]:
    """How many there are of each of these, those with none left out: asked for many at a time, halved where there are
    some."""
    if not keys:
        return {}
    number = await count(keys) if len(keys) <= PAGE else 1
    if not number or len(keys) == 1:
        return {keys[0]: number} if number else {}
    half = len(keys) // 2
    first, second = await asyncio.gather(_counted(keys[:half], count), _counted(keys[half:], count))
    return {**first, **second}


async def _count_runs(api: Api, where: dict[str, Any], runs: Filter) -> int:
    count: int = await api.read("/flow_runs/count", {**where, "flow_runs": runs})
    return count


def _in_queues(ids: Sequence[str]) -> dict[str, Any]:
    return {"work_pool_queues": {"id": {"any_": list(ids)}}}


def _of_pools(names: Sequence[str]) -> dict[str, Any]:
    return {"work_pools": {"name": {"any_": list(names)}}}


async def _workers(api: Api, pool: str, pool_id: str) -> list[SeenWorker]:
    def seen(row: Row) -> SeenWorker:
        at = datetime.fromisoformat(row.get("last_heartbeat_time") or row["created"])
        return SeenWorker(row["id"], row["name"], pool, pool_id, at, heartbeat_of(row))

    try:
        return decode(await read_moving(api, f"{pool_path(pool)}/workers/filter", {}), "worker", seen)
    except NotFound:
        return []


async def _queues(api: Api, pool: str) -> list[SeenQueue]:
    try:
        row = await api.read(pool_path(pool))
        rows = await read_moving(api, f"{pool_path(pool)}/queues/filter", {})
    except NotFound:
        return []
    default = row.get("default_queue_id")
    return [
        SeenQueue(
            each["id"], each["name"], pool, each["id"] == default, last_polled_at=instant(each.get("last_polled"))
        )
        for each in rows
    ]

"""What pool-reconcile observes, and what it remembers for its next run."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from flows.policy.circuit import Phase
from flows.policy.lease import read_note
from flows.policy.plan import Kind, Target
from flows.policy.pool_spec import Spec
from flows.policy.reconcile.facts import PoolThere, QueueThere, ReconcileFacts, prunable
from flows.policy.reconcile.memory import to_forget, to_remember
from flows.prefect_api.archive import queues_of
from flows.prefect_api.circuits import Memory, read_memory
from flows.prefect_api.client import Api, NotFound, decode
from flows.prefect_api.created import forget_created, read_created, remember_created
from flows.prefect_api.events import emit_drift
from flows.prefect_api.keeper import read_keeper
from flows.prefect_api.paging import Row, read_all
from flows.prefect_api.paths import pool_path
from flows.prefect_api.prune import read_use
from flows.prefect_api.records import keep_record, read_record
from flows.prefect_api.worker_types import read_defaults

RECORD_KEY = "pool-reconcile-record"
RECORD_DESCRIPTION = "How work pools differed from their specs when last looked; what is new since makes an event."


async def observe_reconcile(api: Api, spec: Spec, path: str, *, prune: bool) -> ReconcileFacts:
    """Every work pool as it is, those of the spec with their queues; those that may be pruned with what uses them."""
    protection = (await read_keeper(api)).protection
    pools = await read_pools_there(api, [pool.name for pool in spec.pools])
    defaults = await read_defaults(api)
    facts = ReconcileFacts(spec, path, pools, defaults, protection, created=await read_created(api), prune=prune)
    candidates = prunable(facts) if prune else ()
    uses = await asyncio.gather(*(read_use(api, pool.name) for pool in candidates))
    return replace(facts, uses={pool.id: use for pool, use in zip(candidates, uses, strict=True)})


async def read_pools_there(api: Api, with_queues: Iterable[str] | None = None) -> dict[str, PoolThere]:
    """All work pools by name, those of these names (None: all) with their queues."""
    rows = await read_all(api, "/work_pools/filter", {})
    memory = await read_memory(api, dry_run=False)
    pools = decode(rows, "work pool", lambda row: _pool(row, memory))
    asked = {pool.name for pool in pools} if with_queues is None else set(with_queues)

    async def complete(pool: PoolThere) -> PoolThere:
        return replace(pool, queues=await read_queues_there(api, pool.name)) if pool.name in asked else pool

    return {pool.name: pool for pool in await asyncio.gather(*map(complete, pools))}


async def read_pool_there(api: Api, name: str, before: PoolThere | None) -> tuple[PoolThere, Row] | None:
    """A work pool as it is now, without its queues; None where it is gone. A pool that was half-open `before` by what
    is remembered alone still is, for as long as its limit is the same."""
    try:
        row = await api.read(pool_path(name))
    except NotFound:
        return None
    (pool,) = decode([row], "work pool", lambda row: _pool(row, Memory({})))
    still = before is not None and before.is_half_open and before.concurrency_limit == pool.concurrency_limit
    if before is not None and still and not pool.is_half_open:
        pool = replace(pool, is_half_open=True, former_limit=before.former_limit)
    return pool, row


async def read_queues_there(api: Api, pool: str) -> tuple[QueueThere, ...]:
    """The queues of a work pool in their order; none where it is gone."""
    try:
        rows = await queues_of(api, pool)
    except NotFound:
        return ()
    return tuple(decode(rows, "work queue", _queue))


async def keep_memory(api: Api, facts: ReconcileFacts, *, dry_run: bool) -> None:
    for created in to_remember(facts, dry_run=dry_run):
        await remember_created(api, created)
    for created in () if dry_run else to_forget(facts):
        await forget_created(api, created)


async def tell_drift(api: Api, facts: ReconcileFacts, drift: Mapping[str, str]) -> None:
    """An event for each work pool that differs from the spec otherwise than it did when last looked."""
    kept = await read_record(api, RECORD_KEY)
    rows = [row for row in kept.rows if isinstance(row, dict)] if kept else []
    before = {row.get("pool"): row.get("drift") for row in rows if row.get("spec") == facts.path}
    for pool, words in drift.items():
        if before.get(pool) != words:
            there = facts.pools.get(pool)
            emit_drift(pool, there.id if there else None, words)
    others = [row for row in rows if row.get("spec") != facts.path]
    wanted = [*others, *({"spec": facts.path, "pool": pool, "drift": words} for pool, words in sorted(drift.items()))]
    if wanted != rows:
        await keep_record(api, RECORD_KEY, wanted, RECORD_DESCRIPTION)


def _pool(row: Row, memory: Memory) -> PoolThere:
    note = read_note(row.get("description"))
    kept = memory.of(Target(Kind.POOL, row["name"], row["id"]))
    trying = kept[-1].circuit if kept and kept[-1].circuit.phase is Phase.HALF_OPEN else None
    former = trying.former_limit if trying else None
    if note is not None and note.former_limit:
        former = None if note.former_limit == "none" else int(note.former_limit)
    return PoolThere(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        is_paused=row["is_paused"],
        concurrency_limit=row["concurrency_limit"],
        description=row.get("description"),
        template=row.get("base_job_template") or {},
        is_half_open=trying is not None or bool(note and note.former_limit),
        former_limit=former,
    )


def _queue(row: Row) -> QueueThere:
    return QueueThere(
        id=row["id"],
        name=row["name"],
        priority=row["priority"],
        concurrency_limit=row["concurrency_limit"],
        description=row.get("description"),
        is_paused=row["is_paused"],
    )

"""Work pools with their queues and workers, as facts."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flows.policy.facts import DEFAULT_HEARTBEAT, PoolFacts, QueueFacts, TemplateFacts, WorkerFacts
from flows.policy.redaction import plain_secrets, template_variables
from flows.prefect_api.client import Api, NotFound, decode, instant
from flows.prefect_api.paging import NotWhole, Row, read_all, read_all_unordered, read_moving
from flows.prefect_api.paths import pool_path

# The list of all queues costs a request for 200 of them, the queues of one pool cost a request for each pool.
QUEUES_PER_REQUEST_GUESS = 50


async def read_pools(api: Api) -> list[PoolFacts]:
    """Every work pool, by name."""
    return decode(await read_all(api, "/work_pools/filter", {}), "work pool", _pool)


async def read_pool(api: Api, name: str) -> PoolFacts | None:
    """The work pool of that name, or None."""
    try:
        row = await api.read(pool_path(name))
    except NotFound:
        return None
    return decode([row], "work pool", _pool)[0]


async def change_pool(api: Api, name: str, changes: dict[str, Any]) -> None:
    """Set all of these fields of the work pool in one write."""
    await api.write("PATCH", pool_path(name), changes)


async def read_queues(api: Api, pools: Sequence[str], *, pools_on_server: int) -> dict[str, list[QueueFacts]]:
    """The queues of these pools, by pool; a pool that is gone has none."""
    rows = await _every_queue(api) if len(pools) * QUEUES_PER_REQUEST_GUESS >= pools_on_server else None
    if rows is None:
        each = await asyncio.gather(*(_of_pool(api, pool, "queues") for pool in pools))
        rows = [row for found in each for row in found or ()]
    wanted = dict.fromkeys(pools)
    found: dict[str, list[QueueFacts]] = {pool: [] for pool in pools}
    for queue in decode((row for row in rows if row["work_pool_name"] in wanted), "work queue", _queue):
        found[queue.pool].append(queue)
    return {pool: sorted(queues, key=lambda queue: (queue.priority, queue.name)) for pool, queues in found.items()}


async def _every_queue(api: Api) -> list[Row] | None:
    """None where the server's one list of them cannot be read whole: it is ordered by name, and most have the same."""
    try:
        return await read_all_unordered(api, "/work_queues/filter", {}, what="work queues")
    except NotWhole:
        return None


async def read_workers(api: Api, pools: Sequence[str]) -> dict[str, list[WorkerFacts] | None]:
    """The workers of these pools, by pool; None for a pool that is gone."""

    async def read(pool: str) -> list[WorkerFacts] | None:
        rows = await _of_pool(api, pool, "workers")
        return None if rows is None else decode(rows, "worker", lambda row: _worker(row, pool))

    return dict(zip(pools, await asyncio.gather(*map(read, pools)), strict=True))


async def _of_pool(api: Api, pool: str, what: str) -> list[Row] | None:
    try:
        return await read_moving(api, f"{pool_path(pool)}/{what}/filter", {})
    except NotFound:
        return None


def _pool(row: Row) -> PoolFacts:
    return PoolFacts(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        status=row.get("status"),
        is_paused=row["is_paused"],
        concurrency_limit=row["concurrency_limit"],
        template=describe_template(row.get("base_job_template") or {}),
        created_at=instant(row.get("created")),
        description=row.get("description"),
        updated_at=instant(row.get("updated")),
    )


def describe_template(template: dict[str, Any]) -> TemplateFacts:
    """A template without its values. Its digest tells whether it is the same one, whatever the order of its keys."""
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":")).encode()
    return TemplateFacts(
        digest=hashlib.sha256(canonical).hexdigest(),
        variables=template_variables(template),
        secrets=plain_secrets(template),
    )


def _queue(row: Row) -> QueueFacts:
    return QueueFacts(
        id=row["id"],
        name=row["name"],
        pool=row["work_pool_name"],
        is_paused=row["is_paused"],
        priority=row["priority"],
        concurrency_limit=row["concurrency_limit"],
        status=row.get("status"),
        last_polled_at=instant(row.get("last_polled")),
    )


def _worker(row: Row, pool: str) -> WorkerFacts:
    return WorkerFacts(
        name=row["name"],
        pool=pool,
        last_heartbeat_at=instant(row.get("last_heartbeat_time")),
        heartbeat=heartbeat_of(row),
        id=row["id"],
    )


def heartbeat_of(worker: Row) -> timedelta:
    """How often a worker beats."""
    seconds = worker.get("heartbeat_interval_seconds")
    return timedelta(seconds=seconds) if seconds else DEFAULT_HEARTBEAT

"""What lets runs start, a pool or a deployment: read, and set in one write."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flows.policy.case import Changes
from flows.policy.circuit import Gate
from flows.policy.facts import PoolFacts
from flows.policy.plan import Kind, Target
from flows.prefect_api.client import Api, NotFound, decode
from flows.prefect_api.deployments import read_named_rows
from flows.prefect_api.paging import Row
from flows.prefect_api.work_pools import change_pool, read_pool

# A pool is written twice when it is created.
CREATING_TAKES = timedelta(milliseconds=50)


def pool_gate(pool: PoolFacts) -> Gate:
    target = Target(Kind.POOL, pool.name, pool.id, pool=pool.name)
    at, created = pool.updated_at, pool.created_at
    touched_at = at if at and created and at - created > CREATING_TAKES else None
    return Gate(target, pool.is_paused, pool.concurrency_limit, pool.description, touched_at=touched_at)


async def deployment_gates(api: Api, ids: Sequence[str]) -> dict[str, Gate]:
    """The gates of these deployments by id, those that still exist."""
    gates = decode(await read_named_rows(api, ids), "deployment", _deployment_gate)
    return {gate.target.id: gate for gate in gates}


async def read_gate(api: Api, target: Target) -> Gate:
    """As it is now; `NotFound` where it is gone, or another one has taken its name."""
    if target.kind is Kind.POOL:
        pool = await read_pool(api, target.name)
        if pool is not None and pool.id == target.id:
            return pool_gate(pool)
    elif gate := (await deployment_gates(api, [target.id])).get(target.id):
        return gate
    raise NotFound(f"{target.kind} {target.name!r} is gone.")


async def set_gate(api: Api, target: Target, changes: Changes) -> None:
    """Set all of it in one write, so that a pause never stands without its note."""
    if target.kind is Kind.POOL:
        await change_pool(api, target.name, dict(changes))
        return
    body: dict[str, Any] = {"paused" if name == "is_paused" else name: value for name, value in changes.items()}
    await api.write("PATCH", f"/deployments/{target.id}", body)


def _deployment_gate(row: Row) -> Gate:
    target = Target(Kind.DEPLOYMENT, row["full_name"], row["id"], pool=row.get("work_pool_name"))
    return Gate(target, row["paused"], None, row.get("description"))

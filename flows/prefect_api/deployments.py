"""Deployments, as facts and as counts by pool.

Reading one costs the server 10 to 15 ms a schedule, so they are counted where that is enough.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from flows.policy.facts import DeploymentFacts
from flows.prefect_api.client import Api, ServerFailed, decode, instant
from flows.prefect_api.flow_runs import count_by_deployment, in_states
from flows.prefect_api.paging import PAGE, NotWhole, Row, read_all, read_all_unordered

# So many deployments are cheaper read than searched further.
READ_AT_ONCE = 20
# Prefect's word for "belongs to some work pool": an empty filter that must match one.
ANY_POOL: dict[str, Any] = {"work_pools": {}}
CANCEL_NEW = "CANCEL_NEW"
BY_NAME = {"sort": "NAME_ASC"}
NEWEST_FIRST = {"sort": "CREATED_DESC"}
# What makes a deployment's facts. Its parameters and their schema, of which there may be much more, are not among it.
FIELDS = frozenset({
    "id", "name", "flow_id", "work_pool_name", "work_queue_id", "paused", "schedules", "global_concurrency_limit",
    "concurrency_options", "last_polled",
})  # fmt: skip


async def count_deployments(api: Api, body: dict[str, Any]) -> int:
    count: int = await api.read("/deployments/count", body)
    return count


async def count_by_pool(api: Api, pools: Sequence[str]) -> dict[str, int]:
    """How many deployments each of these pools has."""
    if not await count_deployments(api, ANY_POOL):
        return {}
    counts = await asyncio.gather(
        *(count_deployments(api, {"work_pools": {"name": {"any_": [pool]}}}) for pool in pools)
    )
    return dict(zip(pools, counts, strict=True))


async def read_deployments(api: Api, ids: Sequence[str]) -> dict[str, DeploymentFacts]:
    """Deployments by id, those that still exist."""
    if not ids:
        return {}
    return await facts_of(api, await read_rows(api, {"deployments": {"id": {"any_": list(ids)}}}, FIELDS))


async def read_named_rows(api: Api, ids: Sequence[str]) -> list[Row]:
    """Deployments by id, those that still exist, each with its `full_name`, `flow/deployment`."""
    if not ids:
        return []
    rows = await read_rows(api, {"deployments": {"id": {"any_": list(ids)}}})
    flows = await _flow_names(api, {row["flow_id"] for row in rows}) if rows else {}
    return [row | {"full_name": f"{flows.get(row['flow_id'], '?')}/{row['name']}"} for row in rows]


async def read_rows(api: Api, body: dict[str, Any], fields: Collection[str] = ()) -> list[Row]:
    """All deployments that the filter selects and that the server can read; with `fields`, no more than these of each.

    A server fails on a whole page for one deployment whose schedule it does not understand. Then pages are halved
    until that one is left out.
    """
    try:
        return await _whole(api, body, fields)
    except NotWhole:
        # Many were created at the same moment, by which the list is ordered.
        return await _by_flows(api, body, fields, [row["id"] for row in await read_all(api, "/flows/filter", BY_NAME)])
    except ServerFailed:
        total = await count_deployments(api, body)
    pages = [(start, min(PAGE, total - start)) for start in range(0, total, PAGE)]
    return [row for start, length in pages for row in await _around_the_unreadable(api, body, start, length)]


async def _whole(api: Api, body: dict[str, Any], fields: Collection[str]) -> list[Row]:
    return await read_all_unordered(api, "/deployments/filter", body | NEWEST_FIRST, what="deployments", fields=fields)


async def _by_flows(api: Api, body: dict[str, Any], fields: Collection[str], flows: Sequence[str]) -> list[Row]:
    """Those of so many flows at a time that one page holds them, which loses nothing."""
    of_flows = {**body, "flows": {"id": {"any_": list(flows)}}}
    if len(flows) <= 1 or await count_deployments(api, of_flows) < PAGE:
        return await _whole(api, of_flows, fields) if flows else []
    half = len(flows) // 2
    first = await _by_flows(api, body, fields, flows[:half])
    return first + await _by_flows(api, body, fields, flows[half:])


async def _around_the_unreadable(api: Api, body: dict[str, Any], offset: int, length: int) -> list[Row]:
    page = body | NEWEST_FIRST | {"offset": offset, "limit": length}
    try:
        rows: list[Row] = await api.read("/deployments/filter", page, patient=False)
    except ServerFailed:
        if length == 1:
            return []
        half = length // 2
        first = await _around_the_unreadable(api, body, offset, half)
        return first + await _around_the_unreadable(api, body, offset + half, length - half)
    return rows


async def read_without_pool(api: Api) -> tuple[list[DeploymentFacts], int]:
    """The deployments that have no work pool, and how many more of them there are than could be read.

    No filter finds them, and reading all deployments is slow. So flows are halved until what remains differs between
    "all deployments" and "deployments of some pool": few counts for few deployments.
    """
    missing = await count_deployments(api, {}) - await count_deployments(api, ANY_POOL)
    if missing <= 0:
        return [], 0
    flows = {row["id"]: row["name"] for row in await read_all(api, "/flows/filter", {"sort": "NAME_ASC"})}
    rows = await _search(api, list(flows), most=PAGE)
    scheduled = await count_by_deployment(api, in_states("SCHEDULED"), [row["id"] for row in rows])
    facts = decode(rows, "deployment", lambda row: _deployment(row, flows, scheduled.get(row["id"], 0)))
    return sorted(facts, key=lambda deployment: deployment.name), max(0, missing - len(facts))


async def _search(api: Api, flows: list[str], most: int) -> list[Row]:
    if not flows or most <= 0:
        return []
    of_flows = {"flows": {"id": {"any_": flows}}}
    total, pooled = await asyncio.gather(count_deployments(api, of_flows), count_deployments(api, of_flows | ANY_POOL))
    if total == pooled:
        return []
    if total <= READ_AT_ONCE or len(flows) == 1:
        rows = await read_all(api, "/deployments/filter", of_flows | {"sort": "NAME_ASC"})
        return [row for row in rows if row.get("work_pool_name") is None][:most]
    half = len(flows) // 2
    found = await _search(api, flows[:half], most)
    return found + await _search(api, flows[half:], most - len(found))


async def facts_of(api: Api, rows: Sequence[Row]) -> dict[str, DeploymentFacts]:
    """Deployments that were read, by id, with the names of their flows."""
    flows = await _flow_names(api, {row["flow_id"] for row in rows}) if rows else {}
    facts = decode(rows, "deployment", lambda row: _deployment(row, flows, scheduled=0))
    return {deployment.id: deployment for deployment in facts}


async def _flow_names(api: Api, ids: set[str]) -> dict[str, str]:
    rows = await read_all(api, "/flows/filter", {"flows": {"id": {"any_": sorted(ids)}}, "sort": "NAME_ASC"})
    return {row["id"]: row["name"] for row in rows}


def _deployment(row: Row, flows: dict[str, str], scheduled: int) -> DeploymentFacts:
    limit = row.get("global_concurrency_limit") or {}
    return DeploymentFacts(
        id=row["id"],
        name=f"{flows.get(row['flow_id'], '?')}/{row['name']}",
        pool=row.get("work_pool_name"),
        paused=row["paused"],
        active_schedules=sum(schedule["active"] for schedule in row["schedules"]),
        limit=limit.get("limit"),
        active=limit.get("active_slots") or 0,
        last_polled_at=instant(row.get("last_polled")),
        scheduled_runs=scheduled,
        queue_id=row.get("work_queue_id"),
        cancels=(row.get("concurrency_options") or {}).get("collision_strategy") == CANCEL_NEW,
    )

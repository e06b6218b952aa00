"""Which work pool a deployment had that has none: as its events tell, or its last run."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flows.policy.cleanup.detached import FormerPool, LooseDeployment
from flows.prefect_api.client import Api, instant
from flows.prefect_api.flow_runs import of_deployment
from flows.prefect_api.paging import Row

QUEUE_DELETED = {"event": {"name": ["prefect.work-queue.deleted"]}}


async def former_pools(api: Api, deployments: Sequence[LooseDeployment]) -> dict[str, FormerPool]:
    """The pools these deployments had, by their ids: as their events tell (for a week), else as their last run does."""
    has_events = bool(deployments and await _events(api, QUEUE_DELETED, most=1))

    async def told(deployment: LooseDeployment) -> FormerPool | None:
        by_event = await _told_by_events(api, deployment.target.id) if has_events else None
        return by_event or await _told_by_run(api, deployment)

    found = await asyncio.gather(*map(told, deployments))
    return {each.target.id: former for each, former in zip(deployments, found, strict=True) if former}


async def _told_by_events(api: Api, deployment_id: str) -> FormerPool | None:
    """The pool at the last event of a deployment that names one, if its queue was deleted or it was taken out since."""
    resource = {"id": [f"prefect.deployment.{deployment_id}"]}
    events = await _events(api, {"resource": resource, "event": {"prefix": ["prefect.deployment."]}})
    related = [{each.get("prefect.resource.role"): each for each in event["related"]} for event in events]
    last = next((place for place, roles in enumerate(related) if "work-pool" in roles), None)
    if last is None:
        return None
    pool, queue = related[last]["work-pool"], related[last]["work-queue"]
    updates = [event["payload"].get("updates", {}).get("work_queue_id") for event in events[:last]]
    # Prefect also tells of deletions that then fail: the last one counts.
    ends = await _events(api, {"resource": {"id": [queue["prefect.resource.id"]]}} | QUEUE_DELETED, most=1)
    former = FormerPool(
        name=pool["prefect.resource.name"],
        type=pool.get("prefect.work-pool.type"),
        queue=queue["prefect.resource.name"],
        seen_at=datetime.fromisoformat(events[last]["occurred"]),
        ended_at=instant(ends[0]["occurred"]) if ends else None,
        left=any(each and each["to"] is None for each in updates),
    )
    return former if former.left or former.ended_at else None


async def _told_by_run(api: Api, deployment: LooseDeployment) -> FormerPool | None:
    """The pool whose worker started the deployment's last run; None where it was something else that started it."""
    runs = of_deployment(deployment.target.id) | {"start_time": {"is_null_": False}}
    for row in await api.read("/flow_runs/filter", {"flow_runs": runs, "sort": "START_TIME_DESC", "limit": 1}):
        labels = row.get("labels") or {}
        if pool := labels.get("prefect.work-pool.name"):
            # The run got the queue that the deployment had when it was made, not when it started.
            made_at = datetime.fromisoformat(row["created"])
            return FormerPool(pool, labels.get("prefect.worker.type"), deployment.queue, made_at)
    return None


async def _events(api: Api, query: dict[str, Any], *, most: int = 50) -> list[Row]:
    events: list[Row] = (await api.read("/events/filter", {"filter": query | {"order": "DESC"}, "limit": most}))[
        "events"
    ]
    return events

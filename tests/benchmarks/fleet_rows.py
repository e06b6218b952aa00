"""The rows of a filled fleet, but for its runs."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import prefect
from prefect.server.schemas.statuses import DeploymentStatus, WorkerStatus, WorkPoolStatus, WorkQueueStatus

from tests.benchmarks.fleet import (
    DEPLOYMENTS_PER_FLOW,
    HISTORY,
    QUEUES,
    WORKERS_PER_POOL,
    Kind,
    Size,
    concurrency_limit,
    has_online_worker,
    is_paused,
    make_id,
    next_date,
    pool_of,
    queue_id,
    queue_place,
)

Row = dict[str, Any]

POOL_TYPE = "process"


def default_job_template(pool_type: str) -> Row:
    views = Path(prefect.__file__).parent / "server" / "api" / "collections_data" / "views"
    collections = json.loads((views / "aggregate-worker-metadata.json").read_text())
    workers = {worker["type"]: worker for collection in collections.values() for worker in collection.values()}
    return dict(workers[pool_type]["default_base_job_configuration"])


def pool_status(pool: int) -> WorkPoolStatus:
    if is_paused(pool):
        return WorkPoolStatus.PAUSED
    return WorkPoolStatus.READY if has_online_worker(pool) else WorkPoolStatus.NOT_READY


def pool_rows(size: Size, now: datetime) -> Iterator[Row]:
    template = default_job_template(POOL_TYPE)
    for pool in range(size.pools):
        yield {
            "id": make_id(Kind.POOL, pool),
            "created": now - 2 * HISTORY,
            "updated": now - HISTORY,
            "name": f"pool-{pool:04d}",
            "type": POOL_TYPE,
            "base_job_template": template,
            "is_paused": is_paused(pool),
            "concurrency_limit": concurrency_limit(pool),
            "status": pool_status(pool),
            "default_queue_id": queue_id(pool, 0),
        }


def queue_row(pool: int, place: int, now: datetime) -> Row:
    paused = place == len(QUEUES) - 1 and pool % 10 == 3
    online = has_online_worker(pool)
    unpaused_status = WorkQueueStatus.READY if online else WorkQueueStatus.NOT_READY
    return {
        "id": queue_id(pool, place),
        "created": now - 2 * HISTORY,
        "updated": now - HISTORY,
        "name": QUEUES[place],
        "description": "The work pool's default queue." if place == 0 else "",
        "is_paused": paused,
        "priority": place + 1,
        "work_pool_id": make_id(Kind.POOL, pool),
        "last_polled": now if online else now - timedelta(days=2),
        "status": WorkQueueStatus.PAUSED if paused else unpaused_status,
    }


def queue_rows(size: Size, now: datetime) -> Iterator[Row]:
    for pool in range(size.pools):
        for place in range(len(QUEUES)):
            yield queue_row(pool, place, now)


def worker_row(pool: int, place: int, now: datetime) -> Row:
    """An online worker's heartbeat interval is a day, so that it stays online for as long as anyone measures."""
    online = has_online_worker(pool) and (place == 0 or pool % 4 == 0)
    return {
        "id": make_id(Kind.WORKER, pool * WORKERS_PER_POOL + place),
        "created": now - HISTORY,
        "updated": now - HISTORY,
        "name": f"worker-{place}",
        "work_pool_id": make_id(Kind.POOL, pool),
        "last_heartbeat_time": now if online else now - timedelta(days=2),
        "heartbeat_interval_seconds": 86_400 if online else 30,
        "status": WorkerStatus.ONLINE if online else WorkerStatus.OFFLINE,
    }


def worker_rows(size: Size, now: datetime) -> Iterator[Row]:
    for pool in range(size.pools):
        for place in range(WORKERS_PER_POOL):
            yield worker_row(pool, place, now)


def flow_rows(size: Size, now: datetime) -> Iterator[Row]:
    flows = -(-size.deployments // DEPLOYMENTS_PER_FLOW)
    for flow in range(flows):
        yield {
            "id": make_id(Kind.FLOW, flow),
            "created": now - 2 * HISTORY,
            "updated": now - 2 * HISTORY,
            "name": f"flow-{flow:05d}",
        }


def deployment_row(deployment: int, size: Size, now: datetime) -> Row:
    pool, place = pool_of(deployment, size), queue_place(deployment, size)
    online = has_online_worker(pool)
    return {
        "id": make_id(Kind.DEPLOYMENT, deployment),
        "created": now - 2 * HISTORY,
        "updated": now - HISTORY,
        "name": f"deployment-{deployment:06d}",
        "flow_id": make_id(Kind.FLOW, deployment // DEPLOYMENTS_PER_FLOW),
        "work_queue_id": queue_id(pool, place),
        "work_queue_name": QUEUES[place],
        "entrypoint": "flows/etl.py:etl",
        "tags": ["benchmark"],
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/flows"}}],
        "parameter_openapi_schema": {"title": "Parameters", "type": "object", "properties": {}},
        "enforce_parameter_schema": True,
        "last_polled": now if online else now - timedelta(days=2),
        "status": DeploymentStatus.READY if online else DeploymentStatus.NOT_READY,
    }


def deployment_rows(size: Size, now: datetime) -> Iterator[Row]:
    for deployment in range(size.deployments):
        yield deployment_row(deployment, size, now)


def hourly_schedule(deployment: int, now: datetime) -> Row:
    if deployment % 2 == 0:
        return {"cron": f"{deployment % 60} * * * *", "timezone": "UTC", "day_or": True}
    anchor = next_date(deployment, now) - HISTORY
    return {"interval": 3600.0, "anchor_date": anchor.isoformat(), "timezone": "UTC"}


def schedule_rows(size: Size, now: datetime) -> Iterator[Row]:
    for deployment in range(size.deployments):
        yield {
            "id": make_id(Kind.SCHEDULE, deployment),
            "created": now - 2 * HISTORY,
            "updated": now - HISTORY,
            "deployment_id": make_id(Kind.DEPLOYMENT, deployment),
            "schedule": hourly_schedule(deployment, now),
            "active": True,
        }

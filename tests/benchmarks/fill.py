"""Fill a migrated Prefect database straight by SQL, to measure against.

    prefect server database upgrade -y
    python -m tests.benchmarks.fill --url sqlite+aiosqlite:////path/prefect.db --size M
    python -m tests.benchmarks.fill --url postgresql+asyncpg://user@host/db --pools 50 --deployments 500 --runs 2000

The same size and the same `now` give the same rows. `runs` counts the ended runs; running, late and future runs come
on top. An ended run has only its last state, where a server would have kept all of them.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import prefect
import sqlalchemy as sa
from prefect.server.database import orm_models as orm
from prefect.server.schemas.states import StateDetails, StateType
from prefect.server.schemas.statuses import DeploymentStatus, WorkerStatus, WorkPoolStatus, WorkQueueStatus
from prefect.server.utilities.database import Pydantic
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

Row = dict[str, Any]

SEED = 20
BATCH = 5_000
HISTORY = timedelta(days=30)
QUEUES = ("default", "high", "low")
WORKERS_PER_POOL = 2
DEPLOYMENTS_PER_FLOW = 10
FUTURE_RUNS_PER_DEPLOYMENT = 3
LATE_RUNS_PER_BLOCKED_POOL = 4
OUTCOMES = (
    (StateType.COMPLETED, "Completed"),
    (StateType.FAILED, "Failed"),
    (StateType.FAILED, "TimedOut"),
    (StateType.CRASHED, "Crashed"),
    (StateType.CANCELLED, "Cancelled"),
)
# One pool in twenty fails badly; over all pools about 8 % of the runs are FAILED.
HEALTHY_WEIGHTS = (91, 4, 1, 2, 2)
FAILING_WEIGHTS = (36, 50, 10, 2, 2)


@dataclass(frozen=True)
class Size:
    pools: int
    deployments: int
    runs: int


SIZES = {
    "S": Size(pools=20, deployments=200, runs=5_000),
    "M": Size(pools=200, deployments=2_000, runs=100_000),
    "L": Size(pools=1_000, deployments=10_000, runs=1_000_000),
}


class Kind(IntEnum):
    POOL = 1
    QUEUE = 2
    WORKER = 3
    FLOW = 4
    DEPLOYMENT = 5
    SCHEDULE = 6
    RUN = 7
    STATE = 8


def make_id(kind: Kind, number: int) -> UUID:
    """Ids that grow with the number, as the server's own do: inserts stay at the end of the index."""
    return UUID(f"{kind:08x}-0000-7000-8000-{number:012x}")


# What the fleet looks like: everything follows from the number of a pool or of a deployment.


def has_online_worker(pool: int) -> bool:
    return pool % 3 != 2


def is_paused(pool: int) -> bool:
    return pool % 20 == 7


def is_failing(pool: int) -> bool:
    return pool % 20 == 19


def is_blocked(pool: int) -> bool:
    return is_paused(pool) or not has_online_worker(pool)


def concurrency_limit(pool: int) -> int | None:
    return 3 + pool % 8 if pool % 2 == 0 else None


def pool_of(deployment: int, size: Size) -> int:
    return deployment % size.pools


def deployments_of(pool: int, size: Size) -> range:
    return range(pool, size.deployments, size.pools)


def queue_place(deployment: int, size: Size) -> int:
    return deployment // size.pools % len(QUEUES)


def queue_id(pool: int, place: int) -> UUID:
    return make_id(Kind.QUEUE, pool * len(QUEUES) + place)


def next_date(deployment: int, now: datetime) -> datetime:
    """The next date of the deployment's schedule, which is hourly at a minute of its own."""
    date = now.replace(minute=deployment % 60, second=0, microsecond=0)
    return date if date > now else date + timedelta(hours=1)


# Rows of everything but the runs.


def default_job_template(pool_type: str) -> Row:
    views = Path(prefect.__file__).parent / "server" / "api" / "collections_data" / "views"
    collections = json.loads((views / "aggregate-worker-metadata.json").read_text())
    workers = {worker["type"]: worker for collection in collections.values() for worker in collection.values()}
    return dict(workers[pool_type]["default_base_job_configuration"])


def pool_status(pool: int) -> WorkPoolStatus:
    if is_paused(pool):
        return WorkPoolStatus.PAUSED
    return WorkPoolStatus.READY if has_online_worker(pool) else WorkPoolStatus.NOT_READY


def pool_rows(size: Size, now: datetime, pool_type: str) -> Iterator[Row]:
    template = default_job_template(pool_type)
    for pool in range(size.pools):
        yield {
            "id": make_id(Kind.POOL, pool),
            "created": now - 2 * HISTORY,
            "updated": now - HISTORY,
            "name": f"pool-{pool:04d}",
            "type": pool_type,
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


# The runs.


class Run(NamedTuple):
    deployment: int
    state_type: StateType
    state_name: str
    scheduled_at: datetime
    state_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


def ended_runs(size: Size, now: datetime) -> Iterator[Run]:
    """In the order of their ends, evenly spread over the history."""
    rng = random.Random(SEED)
    for number in range(size.runs):
        deployment = rng.randrange(size.deployments)
        weights = FAILING_WEIGHTS if is_failing(pool_of(deployment, size)) else HEALTHY_WEIGHTS
        state_type, state_name = rng.choices(OUTCOMES, weights)[0]
        ended_at = now - HISTORY * (1 - (number + 0.5) / size.runs)
        usual_seconds = 20 + deployment * 37 % 600
        started_at = ended_at - timedelta(seconds=usual_seconds * rng.uniform(0.5, 1.5))
        scheduled_at = started_at - timedelta(seconds=rng.uniform(1, 30))
        yield Run(deployment, state_type, state_name, scheduled_at, ended_at, started_at, ended_at)


def running_runs(size: Size, now: datetime) -> Iterator[Run]:
    for pool in range(size.pools):
        for deployment in deployments_of(pool, size)[: 1 + pool % 3]:
            started_at = now - timedelta(minutes=1 + deployment * 7 % 50)
            scheduled_at = started_at - timedelta(seconds=10)
            yield Run(deployment, StateType.RUNNING, "Running", scheduled_at, started_at, started_at)


def late_runs(size: Size, now: datetime) -> Iterator[Run]:
    for pool in filter(is_blocked, range(size.pools)):
        for deployment in deployments_of(pool, size)[:LATE_RUNS_PER_BLOCKED_POOL]:
            scheduled_at = next_date(deployment, now) - timedelta(hours=1)
            yield Run(deployment, StateType.SCHEDULED, "Late", scheduled_at, scheduled_at + timedelta(seconds=15))


def future_runs(size: Size, now: datetime) -> Iterator[Run]:
    for deployment in range(size.deployments):
        for hours in range(FUTURE_RUNS_PER_DEPLOYMENT):
            scheduled_at = next_date(deployment, now) + timedelta(hours=hours)
            yield Run(deployment, StateType.SCHEDULED, "Scheduled", scheduled_at, now)


def all_runs(size: Size, now: datetime) -> Iterator[Run]:
    return chain(ended_runs(size, now), running_runs(size, now), late_runs(size, now), future_runs(size, now))


def run_row(number: int, run: Run, size: Size) -> Row:
    pool, place = pool_of(run.deployment, size), queue_place(run.deployment, size)
    deployment_id, schedule_id = make_id(Kind.DEPLOYMENT, run.deployment), make_id(Kind.SCHEDULE, run.deployment)
    waiting = run.state_type is StateType.SCHEDULED
    ran = run.ended_at - run.started_at if run.started_at and run.ended_at else timedelta(0)
    return {
        "id": make_id(Kind.RUN, number),
        "created": min(run.scheduled_at, run.state_at) - timedelta(hours=1),
        "updated": run.state_at,
        "name": f"run-{number:07d}",
        "state_id": make_id(Kind.STATE, number),
        "state_type": run.state_type,
        "state_name": run.state_name,
        "state_timestamp": None if run.state_name == "Scheduled" else run.state_at,
        "run_count": 0 if waiting else 1,
        "expected_start_time": run.scheduled_at,
        "next_scheduled_start_time": run.scheduled_at if waiting else None,
        "start_time": run.started_at,
        "end_time": run.ended_at,
        "total_run_time": ran,
        "idempotency_key": f"scheduled {deployment_id} {schedule_id} {run.scheduled_at}",
        "auto_scheduled": True,
        "tags": ["auto-scheduled"],
        "created_by": {"id": str(schedule_id), "type": "SCHEDULE", "display_value": "benchmark"},
        "flow_id": make_id(Kind.FLOW, run.deployment // DEPLOYMENTS_PER_FLOW),
        "deployment_id": deployment_id,
        "work_queue_id": queue_id(pool, place),
        "work_queue_name": QUEUES[place],
    }


def state_row(number: int, run: Run, no_details: Row) -> Row:
    run_id = make_id(Kind.RUN, number)
    waiting = run.state_type is StateType.SCHEDULED
    scheduled_time = run.scheduled_at.isoformat() if waiting else None
    return {
        "id": make_id(Kind.STATE, number),
        "created": run.state_at,
        "updated": run.state_at,
        "flow_run_id": run_id,
        "type": run.state_type,
        "timestamp": run.state_at,
        "name": run.state_name,
        "message": None,
        "state_details": no_details | {"flow_run_id": str(run_id), "scheduled_time": scheduled_time},
    }


# Into the database.


def plain_table(model: type[orm.Base], columns: Iterable[str]) -> sa.TableClause:
    """The model's table with only these columns and no validation: the others take the database's own defaults."""
    plain_json = postgresql.JSONB(none_as_null=True).with_variant(sa.JSON(none_as_null=True), "sqlite")
    types = {column.name: column.type for column in model.__table__.columns}
    return sa.table(
        model.__tablename__,
        *(sa.column(name, plain_json if isinstance(types[name], Pydantic) else types[name]) for name in columns),
    )


async def insert(connection: AsyncConnection, model: type[orm.Base], rows: list[Row]) -> None:
    if rows:
        await connection.execute(plain_table(model, rows[0]).insert(), rows)


async def insert_fleet(connection: AsyncConnection, size: Size, now: datetime, pool_type: str) -> None:
    await insert(connection, orm.WorkPool, list(pool_rows(size, now, pool_type)))
    await insert(connection, orm.WorkQueue, list(queue_rows(size, now)))
    await insert(connection, orm.Worker, list(worker_rows(size, now)))
    await insert(connection, orm.Flow, list(flow_rows(size, now)))
    await insert(connection, orm.Deployment, list(deployment_rows(size, now)))
    await insert(connection, orm.DeploymentSchedule, list(schedule_rows(size, now)))
    await connection.commit()


async def insert_runs(connection: AsyncConnection, size: Size, now: datetime) -> int:
    no_details = StateDetails().model_dump(mode="json")
    runs = enumerate(all_runs(size, now))
    count = 0
    while batch := list(islice(runs, BATCH)):
        await insert(connection, orm.FlowRun, [run_row(number, run, size) for number, run in batch])
        await insert(connection, orm.FlowRunState, [state_row(number, run, no_details) for number, run in batch])
        await connection.commit()
        count += len(batch)
    return count


CIRCULAR_KEYS = (
    ("work_pool", "fk_work_pool__default_queue_id__work_queue"),
    ("flow_run", "fk_flow_run__state_id__flow_run_state"),
)


async def set_circular_keys(connection: AsyncConnection, timing: str) -> None:
    """Pools and queues, and runs and states, point at each other: Postgres has to check them at the commit."""
    for table, constraint in CIRCULAR_KEYS:
        await connection.exec_driver_sql(f"ALTER TABLE {table} ALTER CONSTRAINT {constraint} {timing}")
    await connection.commit()


async def prepare(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await set_circular_keys(connection, "DEFERRABLE INITIALLY DEFERRED")
    else:
        await connection.exec_driver_sql("PRAGMA synchronous = OFF")


async def finish(connection: AsyncConnection) -> None:
    """Postgres gets the statistics that its autovacuum would make; a SQLite server never makes any."""
    if connection.dialect.name == "postgresql":
        await set_circular_keys(connection, "NOT DEFERRABLE")
        await connection.exec_driver_sql("ANALYZE")
        await connection.commit()
    else:
        await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


async def fill(url: str, size: Size, now: datetime, pool_type: str = "process") -> int:
    """Fill the empty, migrated database and return how many runs it has now."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            await prepare(connection)
            await insert_fleet(connection, size, now, pool_type)
            runs = await insert_runs(connection, size, now)
            await finish(connection)
            return runs
    finally:
        await engine.dispose()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fill a migrated Prefect database to measure against.")
    parser.add_argument("--url", required=True, help="sqlite+aiosqlite:////… or postgresql+asyncpg://…")
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--pools", type=int, help="instead of the size's number")
    parser.add_argument("--deployments", type=int, help="instead of the size's number")
    parser.add_argument("--runs", type=int, help="ended runs, instead of the size's number")
    parser.add_argument("--pool-type", default="process", help="whose default base job template the pools get")
    return parser.parse_args()


def chosen_size(arguments: argparse.Namespace) -> Size:
    size = SIZES[arguments.size]
    return Size(
        pools=size.pools if arguments.pools is None else arguments.pools,
        deployments=size.deployments if arguments.deployments is None else arguments.deployments,
        runs=size.runs if arguments.runs is None else arguments.runs,
    )


def main() -> None:
    arguments = parse_arguments()
    size = chosen_size(arguments)
    started = time.perf_counter()
    runs = asyncio.run(fill(arguments.url, size, datetime.now(UTC), arguments.pool_type))
    seconds = time.perf_counter() - started
    print(
        f"{size.pools} pools, {size.pools * len(QUEUES)} queues, {size.pools * WORKERS_PER_POOL} workers, "
        f"{size.deployments} deployments, {runs} runs in {seconds:.1f} s ({runs / seconds:.0f} runs/s)"
    )


if __name__ == "__main__":
    main()

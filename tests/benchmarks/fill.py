"""Fill a migrated Prefect database straight by SQL, to measure against.

    prefect server database upgrade -y
    python -m tests.benchmarks.fill --url sqlite+aiosqlite:////path/prefect.db --size M
    python -m tests.benchmarks.fill --url postgresql+asyncpg://user@host/db --size M --fresh late

The same size and the same time give the same rows. An ended run has only its last state, where a server would have
kept all of them. `--fresh` makes the runs anew that a measurement has cleared away.
"""

import argparse
import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

import sqlalchemy as sa
from prefect.server.database import orm_models as orm
from prefect.server.schemas.states import StateDetails
from prefect.server.utilities.database import Pydantic
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.benchmarks.fleet import QUEUES, SIZES, WORKERS_PER_POOL, Fresh, Size
from tests.benchmarks.fleet_rows import (
    Row,
    deployment_rows,
    flow_rows,
    pool_rows,
    queue_rows,
    schedule_rows,
    worker_rows,
)
from tests.benchmarks.run_rows import all_runs, fresh_runs, run_row, state_row

BATCH = 5_000


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


async def insert_fleet(connection: AsyncConnection, size: Size, now: datetime) -> None:
    await insert(connection, orm.WorkPool, list(pool_rows(size, now)))
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


async def fill(url: str, size: Size, now: datetime) -> int:
    """Fill the empty, migrated database and return how many runs it has now."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            await prepare(connection)
            await insert_fleet(connection, size, now)
            runs = await insert_runs(connection, size, now)
            await finish(connection)
            return runs
    finally:
        await engine.dispose()


async def make_anew(url: str, fresh: Fresh, size: Size, now: datetime) -> int:
    """These runs as they were before anybody touched them, on a server that runs; return how many."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await remove(connection, fresh)
            runs = list(enumerate(fresh_runs(fresh, size, now), start=fresh))
            # Runs and states point at each other, and Postgres looks at each statement by itself.
            rows = [run_row(number, run, size) for number, run in runs]
            await insert(connection, orm.FlowRun, [row | {"state_id": None} for row in rows])
            no_details = StateDetails().model_dump(mode="json")
            await insert(connection, orm.FlowRunState, [state_row(number, run, no_details) for number, run in runs])
            run_table = plain_table(orm.FlowRun, ("id", "state_id"))
            points_at = sa.update(run_table).where(run_table.c.id == sa.bindparam("run"))
            states = [{"run": row["id"], "state": row["state_id"]} for row in rows]
            await connection.execute(points_at.values(state_id=sa.bindparam("state")), states)
        return len(runs)
    finally:
        await engine.dispose()


async def remove(connection: AsyncConnection, fresh: Fresh) -> None:
    ids = [UUID(each) for each in fresh.ids]
    runs, states = plain_table(orm.FlowRun, ("id",)), plain_table(orm.FlowRunState, ("flow_run_id",))
    await connection.execute(sa.delete(runs).where(runs.c.id.in_(ids)))
    await connection.execute(sa.delete(states).where(states.c.flow_run_id.in_(ids)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fill a migrated Prefect database to measure against.")
    parser.add_argument("--url", required=True, help="sqlite+aiosqlite:////… or postgresql+asyncpg://…")
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--at", type=datetime.fromisoformat, help="the time that everything is seen from; now")
    parser.add_argument("--fresh", choices=[each.name.lower() for each in Fresh], help="only make these runs anew")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    size, now = SIZES[arguments.size], arguments.at or datetime.now(UTC)
    if arguments.fresh:
        asyncio.run(make_anew(arguments.url, Fresh[arguments.fresh.upper()], size, now))
        return
    started = time.perf_counter()
    runs = asyncio.run(fill(arguments.url, size, now))
    seconds = time.perf_counter() - started
    print(
        f"{size.pools} pools, {size.pools * len(QUEUES)} queues, {size.pools * WORKERS_PER_POOL} workers, "
        f"{size.deployments} deployments, {runs} runs in {seconds:.1f} s ({runs / seconds:.0f} runs/s)"
    )


if __name__ == "__main__":
    main()

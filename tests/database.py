"""What no API sets: the past, and damage. Written straight into a test server's SQLite database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

FORMAT = "%Y-%m-%d %H:%M:%S.%f"


@contextmanager
def database(home: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(home / "prefect.db", timeout=60)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def took(home: Path, run_id: str, seconds: float, *, ago: timedelta = timedelta(hours=1)) -> None:
    """Have a run that has ended taken so long, and have it ended so long ago."""
    end = datetime.now(UTC) - ago
    start = end - timedelta(seconds=seconds)
    with database(home) as connection:
        sql = "UPDATE flow_run SET start_time = ?, end_time = ? WHERE id = ?"
        assert connection.execute(sql, (start.strftime(FORMAT), end.strftime(FORMAT), run_id)).rowcount == 1


def copies(home: Path, run_id: str, number: int) -> None:
    """So many more runs like this one."""
    with database(home) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(flow_run)")]
        others = ", ".join(column for column in columns if column not in ("id", "idempotency_key"))
        sql = f"INSERT INTO flow_run (id, {others}) SELECT ?, {others} FROM flow_run WHERE id = ?"  # noqa: S608
        connection.executemany(sql, [(str(uuid4()), run_id) for _ in range(number)])


def damage_schedules(home: Path, deployment_id: str, schedule: str) -> None:
    """Have a deployment's schedules be something that Prefect would not have accepted."""
    with database(home) as connection:
        sql = "UPDATE deployment_schedule SET schedule = ? WHERE deployment_id = ?"
        assert connection.execute(sql, (schedule, deployment_id)).rowcount > 0

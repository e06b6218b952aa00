"""What no API sets: the past, and damage. Written straight into a test server's database, SQLite or Postgres."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

FORMAT = "%Y-%m-%d %H:%M:%S.%f"
# The address of a Postgres server that may make databases; without it the tests' servers use SQLite.
POSTGRES = "POOLKEEPER_TESTS_POSTGRES"
made: list[str] = []


@dataclass(frozen=True)
class Connection:
    """A connection that takes SQLite's placeholders on either database."""

    raw: Any
    is_postgres: bool

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self.raw.execute(self._said(sql), tuple(parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self.raw.cursor().executemany(self._said(sql), [tuple(row) for row in rows])

    def columns(self, table: str) -> list[str]:
        if self.is_postgres:
            sql = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
            return [row[0] for row in self.execute(sql, (table,))]
        return [row[1] for row in self.raw.execute(f"PRAGMA table_info({table})")]

    @property
    def new_id(self) -> str:
        """The placeholder of an id that is selected instead of compared."""
        return "CAST(? AS UUID)" if self.is_postgres else "?"

    def _said(self, sql: str) -> str:
        return sql.replace("%", "%%").replace("?", "%s") if self.is_postgres else sql


def database_url(home: Path) -> str:
    """Where the server with this home keeps its data; on Postgres its database is made here."""
    if POSTGRES not in os.environ:
        return f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    name = f"poolkeeper_tests_{sha256(str(home).encode()).hexdigest()[:12]}"
    if name not in made:
        with _postgres(os.environ[POSTGRES]) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        made.append(name)
    parts = urlsplit(os.environ[POSTGRES])
    return urlunsplit(parts._replace(scheme="postgresql+asyncpg", path=f"/{name}"))


def drop_made() -> None:
    """Drop the databases that were made."""
    while made:
        with _postgres(os.environ[POSTGRES]) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{made.pop()}" WITH (FORCE)')


@contextmanager
def database(home: Path) -> Iterator[Connection]:
    if POSTGRES in os.environ:
        with _postgres(database_url(home).replace("postgresql+asyncpg", "postgresql")) as connection:
            yield Connection(connection, is_postgres=True)
        return
    lite = sqlite3.connect(home / "prefect.db", timeout=60)
    try:
        with lite:
            yield Connection(lite, is_postgres=False)
    finally:
        lite.close()


@contextmanager
def _postgres(url: str) -> Iterator[Any]:
    # Only those who test on Postgres need it.
    import psycopg  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True, options="-c TimeZone=UTC") as connection:
        yield connection


def took(home: Path, run_id: str, seconds: float, *, ago: timedelta = timedelta(hours=1)) -> None:
    """Have a run that has ended taken so long, and have it ended so long ago."""
    end = datetime.now(UTC) - ago
    start = end - timedelta(seconds=seconds)
    with database(home) as connection:
        sql = "UPDATE flow_run SET start_time = ?, end_time = ? WHERE id = ?"
        assert connection.execute(sql, (start.strftime(FORMAT), end.strftime(FORMAT), run_id)).rowcount == 1


def copies(home: Path, run_id: str, number: int) -> None:
    """So many more runs like this one."""
    copied(home, "flow_run", run_id, [{} for _ in range(number)], without=("idempotency_key",))


def copied(home: Path, table: str, id_: str, changed: Sequence[dict[str, Any]], *, without: Sequence[str] = ()) -> None:
    """A further row like this one for each of these changes, which are all of the same columns."""
    if not changed:
        return
    with database(home) as connection:
        others = [each for each in connection.columns(table) if each not in {"id", *changed[0], *without}]
        columns = ", ".join(["id", *changed[0], *others])
        values = ", ".join([connection.new_id, *("?" for _ in changed[0]), *others])
        sql = f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE id = ?"  # noqa: S608
        connection.executemany(sql, [(str(uuid4()), *each.values(), id_) for each in changed])


@contextmanager
def undeletable(home: Path, run: str) -> Iterator[None]:
    """A run that the database does not let go."""
    with database(home) as connection:
        if connection.is_postgres:
            # As where another table refers to it.
            refuses = "BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'foreign_key_violation'; END"
            connection.execute(f"CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$ {refuses} $$")
            action = "FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION stays()"
        else:
            action = "WHEN OLD.id = '{}' BEGIN SELECT RAISE(ABORT, 'no'); END"
        connection.execute(f"CREATE TRIGGER stays BEFORE DELETE ON flow_run {action.format(run)}")
    try:
        yield
    finally:
        with database(home) as connection:
            connection.execute("DROP FUNCTION stays CASCADE" if connection.is_postgres else "DROP TRIGGER stays")


def damage_schedules(home: Path, deployment_id: str, schedule: str) -> None:
    """Have a deployment's schedules be something that Prefect would not have accepted."""
    with database(home) as connection:
        sql = "UPDATE deployment_schedule SET schedule = ? WHERE deployment_id = ?"
        assert connection.execute(sql, (schedule, deployment_id)).rowcount > 0

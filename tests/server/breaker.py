"""Work pools whose runs a test decides, and pool-auto-pause to look at them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

from prefect.flows import load_flow_from_entrypoint

from tests.database import FORMAT, copies, database
from tests.rest import Rest, Row, unique, wait_for

ROOT = Path(__file__).resolve().parents[2]
# As small and quick as it goes; and other tests' failing pools make no common outage.
FEW = {"minimum_runs": 4}
QUICK = {"cooldown_minutes": 0.03}
UNLIMITED = {"max_share": 1.0, "max_actions": 1000}
LONG = {"cooldown_minutes": 60}
OVERRIDES = "poolkeeper_overrides"
SWITCHES = (
    "prefect.work-pool.paused", "prefect.work-pool.ready", "prefect.work-pool.not-ready", "prefect.deployment.updated",
)  # fmt: skip
HELD = "AwaitingConcurrencySlot"


@cache
def auto_pause() -> Any:
    """The flow as a run loads it."""
    return load_flow_from_entrypoint(str(ROOT / "flows/auto_pause.py:auto_pause"), use_placeholder_flow=False)


class Pool:
    """A work pool with one deployment (and others beside it) whose runs end as a test says."""

    def __init__(self, breaker: "Breaker", **fields: Any) -> None:
        self.breaker, self.rest = breaker, breaker.rest
        self.name = unique("etl")
        self.id = str(self.rest.pool(self.name, **fields)["id"])
        self.deployments: list[Row] = []
        self.usual = self.deployment()

    def deployment(self, **fields: Any) -> Row:
        self.deployments.append(self.rest.deployment(self.name, **fields))
        return self.deployments[-1]

    def end(self, number: int, *states: str, of: Row | None = None, ago: timedelta | None = None) -> None:
        """So many runs went through these states, and ended so long ago."""
        run = self.rest.run(of or self.usual, *states)
        if ago is not None:
            ended = (datetime.now(UTC) - ago).strftime(FORMAT)
            with database(self.breaker.home) as connection:
                connection.execute("UPDATE flow_run SET start_time = ?, end_time = ? WHERE id = ?", (ended, ended, run))
        if number > 1:
            copies(self.breaker.home, run, number - 1)

    def fail(self, number: int, *, of: Row | None = None, ago: timedelta | None = None) -> None:
        self.end(number, "RUNNING", "FAILED", of=of, ago=ago)

    def succeed(self, number: int, *, of: Row | None = None, ago: timedelta | None = None) -> None:
        self.end(number, "RUNNING", "COMPLETED", of=of, ago=ago)

    def late(self, number: int = 1, *, of: Row | None = None, by_schedule: bool = True, **columns: Any) -> list[str]:
        """Runs that were due and have not started, the oldest first; `columns` is what else the database says."""
        found = []
        for age in range(number, 0, -1):
            found.append(self.rest.run(of or self.usual, "LATE", due=timedelta(minutes=age)))
            given = {"auto_scheduled": by_schedule, **columns}
            with database(self.breaker.home) as connection:
                sql = f"UPDATE flow_run SET {', '.join(f'{name} = ?' for name in given)} WHERE id = ?"  # noqa: S608
                connection.execute(sql, (*given.values(), found[-1]))
        return found

    def now(self) -> Row:
        """Everything of the pool that a person sees and that auto-pause may change."""
        row = self.rest.read(f"/work_pools/{self.name}")
        return {name: row[name] for name in ("is_paused", "concurrency_limit", "description")}

    @property
    def is_paused(self) -> bool:
        return bool(self.now()["is_paused"])

    def change(self, **fields: Any) -> None:
        """As a person does on the pool's page."""
        self.rest.change_pool(self.name, **fields)

    def records(self, id_: str = "", *, of: str = "circuit") -> list[Row]:
        """The variables that hold the circuit of the pool, or of one of its deployments, by step."""
        rows = self.breaker.variables(f"poolkeeper_{of}_")
        found = [row["value"] | {"variable": row["name"]} for row in rows if row["value"]["id"] == (id_ or self.id)]
        return sorted(found, key=lambda each: int(each["step"]))

    def circuit(self, id_: str = "", *, of: str = "circuit") -> Row:
        (record,) = self.records(id_, of=of)
        return record

    def phase(self, id_: str = "", *, of: str = "circuit") -> str:
        return str(self.circuit(id_, of=of)["phase"])

    async def look(self, **parameters: Any) -> Any:
        return await self.breaker.look(self, **parameters)

    def rows(self) -> list[Row]:
        """The table of the last look at this pool alone."""
        return self.rest.table(f"pool-auto-pause-{self.name}-table")

    def row(self, kind: str = "pool") -> Row:
        (row,) = [row for row in self.rows() if row["kind"] == kind]
        return row

    def page(self) -> str:
        return self.rest.page(f"pool-auto-pause-{self.name}").replace("\\", "")

    def events(self, name: str, id_: str = "") -> list[Row]:
        resource = f"prefect.{'deployment' if id_ else 'work-pool'}.{id_ or self.id}"
        query = {"event": {"name": [name]}, "resource": {"id": [resource]}}
        return list(self.rest.ask("/events/filter", filter=query)["events"])

    def wait_for_event(self, name: str, number: int = 1, id_: str = "") -> None:
        """What Prefect tells of changes reaches its own database a few seconds late."""
        wait_for(lambda: len(self.events(name, id_)) >= number, what=f"{number} {name}")

    def wait_until_over(self, id_: str = "", *, of: str = "circuit") -> None:
        """Until the cooldown is, by the server's clock as the keeper reads it."""
        until = datetime.fromisoformat(self.circuit(id_, of=of)["until"])
        wait_for(lambda: self.breaker.server_time() >= until, what=str(until))

    def wait_for_trial(self, id_: str = "", *, of: str = "circuit") -> None:
        """Until runs that start now are probe runs: the keeper rounds the time up to a whole second.

        And until Prefect, which tells of pauses and resumes late, does not tell of the pause alone.
        """
        passed(self.circuit(id_, of=of)["since"])
        if of == "circuit":
            wait_for(lambda: not self._only_its_pause_is_told(id_), what="the event of the resume")

    def _only_its_pause_is_told(self, id_: str) -> bool:
        told = [event for name in SWITCHES for event in self.events(name, id_)]
        last = max(told, key=lambda event: str(event["occurred"]), default=None)
        if last is None:
            return False
        updates = last["payload"].get("updates", {}) if id_ else {}
        return bool(updates["paused"]["to"]) if "paused" in updates else str(last["event"]).endswith(".paused")

    async def open(self, **parameters: Any) -> None:
        """Failing, and paused for that."""
        self.fail(4)
        await self.look(**parameters)
        assert self.is_paused, self.rows()

    async def half_open(self, **parameters: Any) -> None:
        await self.open(**parameters)
        self.wait_until_over()
        await self.look(**parameters)
        assert self.phase() == "half-open", self.rows()
        self.wait_for_trial()

    async def recover(self, **parameters: Any) -> None:
        """Paused, tried again, and well."""
        await self.half_open(**parameters)
        self.succeed(3)
        await self.look(**parameters)
        assert self.phase() == "closed", self.rows()


class Breaker:
    """pool-auto-pause on one server, and the pools of one test, which go when it ends."""

    def __init__(self, rest: Rest, home: Path) -> None:
        self.rest, self.home = rest, home
        self.pools: list[Pool] = []

    def pool(self, **fields: Any) -> Pool:
        self.pools.append(Pool(self, **fields))
        return self.pools[-1]

    async def look(self, *pools: Pool, **parameters: Any) -> Any:
        usual = {"threshold": FEW, "recovery": QUICK, "limit": UNLIMITED, "dry_run": False}
        names = [pool.name for pool in pools]
        return await auto_pause()(**{"pools": names, **usual, **parameters}, return_state=True)

    def server_time(self) -> datetime:
        return parsedate_to_datetime(self.rest.get("/health").headers["date"]) + timedelta(seconds=1)

    def variables(self, prefix: str) -> list[Row]:
        return self.rest.everything("/variables/filter", variables={"name": {"like_": prefix}})

    @contextmanager
    def overrides(self, value: Any) -> Iterator[None]:
        """What people wish, as long as the block lasts."""
        before = [row["value"] for row in self.variables(OVERRIDES)]
        self.write_overrides(value)
        try:
            yield
        finally:
            self.write_overrides(*before)

    def write_overrides(self, *value: Any) -> None:
        """The variable with this value, or none."""
        self.rest.delete(f"/variables/name/{OVERRIDES}")
        for each in value:
            self.rest.ask("/variables/", name=OVERRIDES, value=each)

    def clear(self) -> None:
        """Leave nothing that later looks would judge as well."""
        for pool in self.pools:
            for deployment in pool.deployments:
                self.rest.delete(f"/deployments/{deployment['id']}")
            self.rest.delete(f"/work_pools/{pool.name}")
        names = {pool.name for pool in self.pools}
        for row in self.variables("poolkeeper_"):
            if isinstance(row["value"], dict) and row["value"].get("pool") in names:
                self.rest.delete(f"/variables/{row['id']}")


@contextmanager
def breaking(rest: Rest, environment: dict[str, str]) -> Iterator[Breaker]:
    breaker = Breaker(rest, Path(environment["PREFECT_HOME"]))
    try:
        yield breaker
    finally:
        breaker.clear()


def passed(moment: str) -> None:
    wait_for(lambda: datetime.now(UTC) > datetime.fromisoformat(moment), what=moment)


def quarantined(breaker: Breaker) -> tuple[Pool, dict[str, Any]]:
    """A pool with a deployment that fails, and enough other runs to show that it is that alone."""
    pool = breaker.pool()
    bad = pool.deployment(description="its owner's words")
    pool.fail(4, of=bad)
    pool.succeed(1, of=bad)
    pool.succeed(4)
    pool.fail(1)
    return pool, bad

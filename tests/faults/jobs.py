"""The jobs that faults are tried on: what each is asked to do, and how everything stands once it is done.

A case is made for one run, or for one that something happens to and those after it: however it went, in the end
everything has to stand as if nothing had happened.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect.flows import load_flow_from_entrypoint

from flows.prefect_api import connect
from flows.prefect_api.archive import read_archives
from tests.database import FORMAT, database
from tests.rest import Rest, Row, unique
from tests.server.breaker import FEW, LONG, QUICK, UNLIMITED, Breaker, Pool
from tests.server.cleaning import KEEP_NONE, Attic
from tests.server.hand import WHY, booked
from tests.server.places import Place, where
from tests.server.yard import Yard, spec

ROOT = Path(__file__).resolve().parents[2]
OLD = timedelta(days=400)
HOURLY = [{"schedule": {"interval": 3600, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}]
ARCHIVE = {"archive_deployments": True, "cancel_runs": True}
FLEET = 7


@dataclass(slots=True)
class World:
    """A server with a keeper's deployment on it; what a test makes there goes when it ends."""

    rest: Rest
    environment: dict[str, str]
    breaker: Breaker
    folder: Path

    @property
    def home(self) -> Path:
        return Path(self.environment["PREFECT_HOME"])

    def archives(self, name: str) -> int:
        rows = self.rest.ask("/block_documents/filter", block_documents={"name": {"like_": "poolkeeper-archive"}})
        return sum(name in row["name"] for row in rows)

    def write(self, table: str, id_: str, **columns: Any) -> None:
        with database(self.home) as connection:
            sql = f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?"  # noqa: S608
            connection.execute(sql, (*columns.values(), id_))


@dataclass(slots=True)
class Case:
    """One thing to be done by `entry` with these parameters. `stands` tells how everything stands."""

    entry: str
    parameters: dict[str, Any]
    stands: Callable[[], Any]
    # Repeated although it is done, it would do something else: a person asks only once.
    is_by_hand: bool = False

    async def run(self) -> Any:
        return await flow(self.entry)(**self.parameters, return_state=True)


Prepare = Callable[[World, int], Awaitable[list[Case]]]
JOBS: dict[str, Prepare] = {}
flows: dict[str, Any] = {}


def flow(entry: str) -> Any:
    """The flow as a run loads it."""
    if entry not in flows:
        path = str(ROOT / f"flows/{entry}.py:{entry}")
        flows[entry] = load_flow_from_entrypoint(path, use_placeholder_flow=False)
    return flows[entry]


def job(name: str) -> Callable[[Prepare], Prepare]:
    def register(prepare: Prepare) -> Prepare:
        JOBS[name] = prepare
        return prepare

    return register


# --- Looking ------------------------------------------------------------------------------------------------------


async def _looking(world: World, number: int, entry: str) -> list[Case]:
    names = sorted(row["name"] for row in world.rest.everything("/work_pools/filter"))
    names = [name for name in names if name.startswith("fleet-")]
    for _ in range(FLEET - len(names)):
        names.append(unique("fleet"))
        world.rest.pool(names[-1])
        world.rest.deployment(names[-1], schedules=HOURLY)

    def stands() -> Any:
        return sorted(row["name"] for row in world.rest.everything("/work_pools/filter") if row["name"] in names)

    return [Case(entry, {"pools": ["fleet-*"]}, stands) for _ in range(number)]


@job("inventory")
async def inventory(world: World, number: int) -> list[Case]:
    return await _looking(world, number, "inventory")


@job("preview")
async def preview(world: World, number: int) -> list[Case]:
    return await _looking(world, number, "preview")


# --- Auto-pause ---------------------------------------------------------------------------------------------------


def _circuit(world: World, pool: Pool, **recovery: Any) -> Case:
    def stands() -> Any:
        now = pool.now()
        return {
            "paused": now["is_paused"],
            "limit": now["concurrency_limit"],
            "notes": (now["description"] or "").count("[Poolkeeper: "),
            "own": (now["description"] or "").rpartition("]\n\n")[2],
            "circuits": [(each["phase"], each["applied"], each["former_limit"]) for each in pool.records()],
            "is booked": bool([run for run in _booked(world) if run["parameters"].get("pools") == [pool.name]]),
        }

    usual = {"threshold": FEW, "recovery": recovery, "limit": UNLIMITED, "dry_run": False}
    return Case("auto_pause", {"pools": [pool.name], **usual}, stands)


def _booked(world: World) -> list[Row]:
    return world.rest.everything("/flow_runs/filter", flow_runs={"tags": {"all_": ["poolkeeper-booked"]}})


async def _look_at_all(world: World, pools: list[Pool], **recovery: Any) -> None:
    await world.breaker.look(*pools, recovery=recovery or QUICK)


@job("auto-pause: pause")
async def pausing(world: World, number: int) -> list[Case]:
    pools = [world.breaker.pool(concurrency_limit=7, description="mine") for _ in range(number)]
    for pool in pools:
        pool.fail(4)
    return [_circuit(world, pool, **LONG) for pool in pools]


async def _opened(world: World, number: int) -> list[Pool]:
    pools = [world.breaker.pool(concurrency_limit=7, description="mine") for _ in range(number)]
    for pool in pools:
        pool.fail(4)
    await _look_at_all(world, pools)
    for pool in pools:
        pool.wait_until_over()
    return pools


@job("auto-pause: try again")
async def trying(world: World, number: int) -> list[Case]:
    return [_circuit(world, pool, **QUICK) for pool in await _opened(world, number)]


@job("auto-pause: recover")
async def recovering(world: World, number: int) -> list[Case]:
    pools = await _opened(world, number)
    await _look_at_all(world, pools)
    for pool in pools:
        pool.wait_for_trial()
        pool.succeed(3)
    return [_circuit(world, pool, **QUICK) for pool in pools]


# --- Cleanup ------------------------------------------------------------------------------------------------------


@job("cleanup")
async def cleaning(world: World, number: int) -> list[Case]:
    return [_untidy(world) for _ in range(number)]


def _untidy(world: World) -> Case:
    """Runs that ended long ago, two that are late and have a newer one, a worker that is gone, a queue for nothing."""
    attic, rest = Attic(world.rest, world.environment), world.rest
    attic.old(52)
    late = [rest.run(attic.deployment, "LATE", due=timedelta(days=days)) for days in (4, 3)]
    newer = rest.run(attic.deployment, "LATE", due=timedelta(hours=1))
    for run in (*late, newer):
        world.write("flow_run", run, auto_scheduled=1)
    path = f"/work_pools/{attic.pool}"
    rest.ask(f"{path}/queues", name="unused")
    rest.worker(attic.pool, "gone")
    (worker,) = rest.everything(f"{path}/workers/filter")
    long_ago = (datetime.now(UTC) - OLD).strftime(FORMAT)
    world.write("worker", worker["id"], last_heartbeat_time=long_ago, heartbeat_interval_seconds=30)

    def stands() -> Any:
        states = {run["id"]: run["state_name"] for run in rest.everything("/flow_runs/filter", **_in(attic.pool))}
        return {
            "runs": sorted(states.values()),
            "late": [states.get(run) for run in (*late, newer)],
            "workers": [row["name"] for row in rest.everything(f"{path}/workers/filter")],
            "queues": [row["name"] for row in rest.everything(f"{path}/queues/filter")],
            "archives": world.archives(attic.pool),
        }

    kinds = ["finished-runs", "late-runs", "offline-workers", "empty-queues"]
    limit = {"max_share": 1.0}
    return Case("cleanup", {**attic.parameters(kinds=kinds), "limit": limit}, stands)


@job("cleanup: idle work pool")
async def expiring(world: World, number: int) -> list[Case]:
    return [_idle(world) for _ in range(number)]


def _idle(world: World) -> Case:
    """A work pool that was marked as idle long ago."""
    mark = (
        "[Poolkeeper: idle, marked 2026-01-01 00:00:00 UTC. Deleted after 2026-01-02 00:00:00 UTC unless it is used.]"
    )
    place = Place(world.rest, "idle", description=f"{mark}\n\nmine", concurrency_limit=3)
    place.queue("fast")
    world.write("work_pool", place.id, created=(datetime.now(UTC) - OLD).strftime(FORMAT))

    def stands() -> Any:
        return {"there": place.exists(), "archives": world.archives(place.name)}

    limit = {"max_share": 1.0}
    # As a pattern: a name that is gone is an error.
    parameters = {"pools": [f"{place.name}*"], "kinds": ["idle-pools"], "retention": KEEP_NONE, "limit": limit}
    return Case("cleanup", parameters | {"dry_run": False}, stands)


def _in(pool: str) -> Row:
    return {"work_pools": {"name": {"any_": [pool]}}}


# --- By hand ------------------------------------------------------------------------------------------------------


class Hand:
    """A work pool with two deployments and a queue."""

    def __init__(self, world: World) -> None:
        self.world, self.rest = world, world.rest
        self.place = Place(world.rest, "hand", description="mine", concurrency_limit=5)
        self.place.queue("fast", priority=1, concurrency_limit=2)
        self.deployments = [self.place.deployment("fast", schedules=HOURLY), self.place.deployment()]
        self.runs: list[str] = []

    def case(self, action: str, **more: Any) -> Case:
        asked = {"action": action, "pool": self.place.name, "reason": WHY, "actor": "Ann"}
        return Case("lifecycle", asked | more, self.stands, is_by_hand=True)

    async def have(self, action: str, **more: Any) -> None:
        for _ in range(3):
            state = await self.case(action, **more).run()
            # Prefect's scheduler may have made runs in the middle of it.
            if "Run delete again to go on" not in (state.message or ""):
                break
        assert state.is_completed(), state.message

    def stands(self) -> Any:
        exists = self.place.exists()
        deployments = [self.rest.read(f"/deployments/{each['id']}")["paused"] for each in self.deployments]
        now = self.place.now() if exists else {}
        description = str(now.get("pool", {}).pop("description", "") or "")
        places = [where(self.rest, each) for each in self.deployments]
        stands = {
            "pool": now,
            "notes": description.count("[Poolkeeper: "),
            "own": description.rpartition("]\n\n")[2],
            "deployments": list(zip(deployments, places, strict=True)),
            "runs": [self.rest.read(f"/flow_runs/{run}")["state_name"] for run in self.runs],
            "is booked": bool(booked(self.rest, self.place.name)),
            "archives": self.world.archives(self.place.name),
        }
        return json.loads(json.dumps(stands).replace(self.place.name, "its name"))


@job("lifecycle: pause")
async def pausing_by_hand(world: World, number: int) -> list[Case]:
    return [Hand(world).case("pause", expires_minutes=60) for _ in range(number)]


@job("lifecycle: resume")
async def resuming_by_hand(world: World, number: int) -> list[Case]:
    cases = []
    for _ in range(number):
        hand = Hand(world)
        await hand.have("pause")
        hand.runs = [world.rest.run(hand.deployments[1], "LATE", due=timedelta(minutes=age)) for age in (3, 2)]
        for run in hand.runs:
            world.write("flow_run", run, auto_scheduled=1)
        cases.append(hand.case("resume", backlog="drop"))
    return cases


@job("lifecycle: delete")
async def deleting_by_hand(world: World, number: int) -> list[Case]:
    cases = []
    for _ in range(number):
        hand = Hand(world)
        hand.runs = [world.rest.run(hand.deployments[1])]
        cases.append(hand.case("delete", delete=ARCHIVE))
    return cases


@job("lifecycle: restore")
async def restoring_by_hand(world: World, number: int) -> list[Case]:
    cases = []
    for _ in range(number):
        hand = Hand(world)
        await hand.have("delete", delete=ARCHIVE)
        cases.append(hand.case("restore"))
    return cases


# --- Reconcile ----------------------------------------------------------------------------------------------------


@job("reconcile")
async def reconciling(world: World, number: int) -> list[Case]:
    return [_unlike(world) for _ in range(number)]


def _unlike(world: World) -> Case:
    """A spec with a work pool that is missing and one that is otherwise than written."""
    folder = world.folder / unique("spec")
    folder.mkdir()
    yard = Yard(world.rest, folder)
    new, old = yard.name(), yard.pool(description="old", concurrency_limit=1)
    queues = [{"name": "b", "priority": 1}, {"name": "default", "priority": 2}]
    yard.write(
        spec(new, description="mine", concurrency_limit=2, queues=queues),
        spec(old, description="new", concurrency_limit=2, queues=queues),
    )

    def stands() -> Any:
        def of(name: str) -> Any:
            if not yard.exists(name):
                return None
            there = yard.there(name)
            queues = {each: queue["priority"] for each, queue in there["queues"].items()}
            return there["description"], there["concurrency_limit"], queues

        return {"new": of(new), "old": of(old), "remembered": len(yard.created())}

    limit = {"max_actions": 200, "max_share": 1.0}
    return Case("reconcile", {"spec": str(yard.path), "dry_run": False, "limit": limit}, stands)


# --- What is told of it -------------------------------------------------------------------------------------------


def told(rest: Rest, run_id: str) -> list[Row] | None:
    """The rows of the last table that a run has left; None where it left none."""
    query = {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["table"]}}
    tables = rest.ask("/artifacts/filter", artifacts=query, sort="CREATED_DESC")
    tables = [row for row in tables if row["key"].endswith("-table")]
    return json.loads(tables[0]["data"]) if tables else None


async def archived(name: str) -> int:
    """How many archives can be read of a pool of that name."""
    async with connect() as api:
        return sum(each.pool == name for each in (await read_archives(api)).values())


def difference(stands: Any, right: Any) -> str:
    """In what it stands otherwise than it should."""
    return "; ".join(f"{key}: {stands[key]} instead of {right[key]}" for key in right if stands[key] != right[key])


def pool_path(name: str) -> str:
    return f"/work_pools/{quote(name, safe='')}"

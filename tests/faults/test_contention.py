"""Sweeps, cleanups and people at once on one server, for minutes: what is promised holds at the end."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.jobs import World, flow
from tests.rest import Row
from tests.server.breaker import FEW, QUICK, UNLIMITED, Pool
from tests.server.cleaning import Attic

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SWEEPS, CLEANUPS = 8, 4
FAILING = 3
LIMIT, OWN = 7, "mine"


@dataclass(slots=True)
class Crowd:
    """Everybody who is at work, until the time is up; what they saw that must not be."""

    world: World
    until: float
    ends: list[Any] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    async def repeat(self, entry: str, **parameters: Any) -> None:
        while self.goes_on:
            state = await flow(entry)(**parameters, return_state=True)
            self.ends.append(state)
            if state.type.value not in ("COMPLETED", "FAILED") or "encountered an exception" in state.message:
                self.wrong.append(f"{entry}: {state.type.value} {state.message}")

    async def person(self, pool: Pool, seed: int) -> None:
        """Pauses and resumes a work pool that also fails; what they paused stays paused until they resume it."""
        chance = random.Random(seed)
        while self.goes_on:
            await asyncio.to_thread(pool.change, is_paused=True)
            for _ in range(chance.randint(2, 5)):
                await asyncio.sleep(1)
                if not await asyncio.to_thread(lambda: pool.is_paused):
                    self.wrong.append(f"{pool.name} was resumed although a person had paused it")
            await asyncio.to_thread(pool.change, is_paused=False)
            await asyncio.sleep(chance.uniform(0.5, 2))

    async def failing(self, pools: list[Pool]) -> None:
        """Runs that fail, then runs that do well, in turn."""
        turn = 0
        while self.goes_on:
            for pool in pools:
                await asyncio.to_thread(pool.succeed if turn % 3 == 2 else pool.fail, 4)
            turn += 1
            await asyncio.sleep(3)


async def test_many_at_once_keep_every_promise(world: World, request: pytest.FixtureRequest) -> None:
    seconds = 60 * float(request.config.getoption("--contention-minutes"))
    pools = [world.breaker.pool(concurrency_limit=LIMIT, description=OWN) for _ in range(FAILING)]
    theirs = [world.breaker.pool(concurrency_limit=LIMIT, description=OWN) for _ in range(2)]
    attic = Attic(world.rest, world.environment)
    old = attic.old(2000)
    unfinished = [world.rest.run(attic.deployment, *states) for states in (("RUNNING",), ("PENDING",), ("PAUSED",), ())]
    young = [world.rest.run(attic.deployment, "RUNNING", end) for end in ("COMPLETED", "FAILED", "CANCELLED")]
    before = rows(world, [*unfinished, *young])
    management = world.rest.read("/work_pools/management")
    crowd = Crowd(world, time.monotonic() + seconds)
    names = [pool.name for pool in (*pools, *theirs)]
    sweep = {"pools": names, "threshold": FEW, "recovery": QUICK, "limit": UNLIMITED, "dry_run": False}
    clean = attic.parameters(caps={"finished_runs": 60}, limit={"max_share": 1.0})
    await asyncio.gather(
        *(crowd.repeat("auto_pause", **sweep) for _ in range(SWEEPS)),
        *(crowd.repeat("cleanup", **clean) for _ in range(CLEANUPS)),
        *(crowd.person(pool, seed) for seed, pool in enumerate(theirs)),
        crowd.failing([*pools, *theirs]),
    )
    assert crowd.wrong == []
    assert len(crowd.ends) > SWEEPS + CLEANUPS
    await recovered([*pools, *theirs], sweep)
    for pool in (*pools, *theirs):
        assert pool.now() == {"is_paused": False, "concurrency_limit": LIMIT, "description": OWN}
        assert [each["phase"] for each in pool.records()] in ([], ["closed"])
    # What had not ended is there as it was, and so is what ended lately.
    assert rows(world, [*unfinished, *young]) == before
    state = await flow("cleanup")(**clean | {"caps": {}}, return_state=True)
    assert state.is_completed(), state.message
    assert attic.there(old) == set()
    now = world.rest.read("/work_pools/management")
    assert {**now, "updated": "", "status": ""} == {**management, "updated": "", "status": ""}
    print(f"{len(crowd.ends)} runs in {seconds:.0f} s, {sum(each.is_failed() for each in crowd.ends)} of them failed")


def rows(world: World, ids: list[str]) -> dict[str, tuple[str, str]]:
    found: list[Row] = world.rest.ask("/flow_runs/filter", flow_runs={"id": {"any_": ids}})
    return {row["id"]: (row["state_id"], row["state_name"]) for row in found}


async def recovered(pools: list[Pool], sweep: dict[str, Any]) -> None:
    """Afterwards all runs do well: looks follow until every circuit is closed."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        state = await flow("auto_pause")(**sweep, return_state=True)
        assert "encountered an exception" not in state.message, state.message
        standing = [
            pool for pool in pools if pool.is_paused or any(each["phase"] != "closed" for each in pool.records())
        ]
        if not standing:
            return
        for pool in standing:
            if not pool.is_paused:
                pool.succeed(4)
        await asyncio.sleep(2)

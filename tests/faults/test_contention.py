"""Sweeps, cleanups and people on the same work pools at once, for a while: at the end every promise holds."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from flows.policy.lease import read_note
from tests.database import POSTGRES
from tests.faults.jobs import World
from tests.rest import wait_for
from tests.server.breaker import Pool
from tests.server.cleaning import Attic

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SWEEPS, CLEANUPS = 8, 4
MINUTES = float(os.environ.get("POOLKEEPER_CONTENTION_MINUTES", "1"))
LOOKS_TO_RECOVER = 60
OWN_WORDS = "Words of *its* owner.\n\nAsk [Ann]."


class Crowd:
    """What goes on at once: `held` are the work pools that a person wants paused."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pools = [world.breaker.pool(concurrency_limit=3 + at, description=OWN_WORDS) for at in range(6)]
        self.held, self.others = self.pools[:2], self.pools[2:]
        self.attic = Attic(world.rest, world.environment)
        self.kept = {*self.attic.old(3, tags='["keep"]'), world.rest.run(self.attic.deployment, "RUNNING")}
        self.old = set(self.attic.old(60))
        self.states: list[Any] = []
        self.dice = random.Random(0)

    async def sweep(self) -> None:
        self.states.append(await self.world.breaker.look(*self.pools))

    async def clean(self) -> None:
        self.states.append(await self.attic.sweep())

    async def work(self) -> None:
        """Runs end well or badly, and old ones turn up."""
        pool = self.dice.choice(self.pools)
        await asyncio.to_thread(self.dice.choice([pool.fail, pool.fail, pool.succeed]), 2)
        if self.dice.random() < 0.2:
            self.old.update(await asyncio.to_thread(self.attic.old, 20))

    async def insist(self) -> None:
        """A person who wants these paused, and says so anew where the keeper was before them."""
        for pool in self.held:
            now = await asyncio.to_thread(pool.now)
            if now["is_paused"] and read_note(now["description"]):
                await asyncio.to_thread(clicks, pool, is_paused=False)
                now["is_paused"] = False
            if not now["is_paused"]:
                await asyncio.to_thread(clicks, pool, is_paused=True)
        await asyncio.sleep(1)

    async def resume(self) -> None:
        """A person who resumes whatever stands paused."""
        await asyncio.to_thread(clicks, self.dice.choice(self.others), is_paused=False)
        await asyncio.sleep(2)

    async def recover(self) -> None:
        """All runs end well from now on, until every circuit is closed."""
        for _ in range(LOOKS_TO_RECOVER):
            await self.sweep()
            noted = [pool for pool in self.pools if read_note(pool.now()["description"])]
            if not noted:
                return
            for pool in noted:
                pool.succeed(3)
            await asyncio.sleep(1)


def clicks(pool: Pool, *, is_paused: bool) -> None:
    """As a person does, who clicks again where the server was too busy."""

    def is_set() -> bool:
        with suppress(httpx.HTTPStatusError):
            pool.change(is_paused=is_paused)
            return True
        return False

    wait_for(is_set, what="the server to take a click")


async def test_many_at_once_keep_every_promise(world: World) -> None:
    if POSTGRES not in os.environ:
        pytest.skip("under this load SQLite refuses what the test itself writes: say --postgres")
    crowd = Crowd(world)
    ends = time.monotonic() + MINUTES * 60

    async def until_the_end(act: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < ends:
            await act()

    acts = [crowd.sweep] * SWEEPS + [crowd.clean] * CLEANUPS + [crowd.work, crowd.insist, crowd.resume]
    await asyncio.gather(*map(until_the_end, acts))
    for act in (crowd.insist, crowd.recover, crowd.clean):
        await act()

    assert [state.message for state in crowd.states if "encountered an exception" in state.message] == []
    failed = [state.message for state in crowd.states if not state.is_completed()]
    assert len(failed) < len(crowd.states) / 10, failed
    stands = [(now["is_paused"], now["concurrency_limit"], now["description"]) for now in map(Pool.now, crowd.pools)]
    assert stands == [(pool in crowd.held, 3 + at, OWN_WORDS) for at, pool in enumerate(crowd.pools)]
    assert crowd.attic.there([*crowd.kept, *crowd.old]) == crowd.kept

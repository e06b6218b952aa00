"""A server that is too busy may carry out a write minutes after it was sent, when later turns have long been taken."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.rest import Row, wait_for
from tests.server.breaker import Breaker, Pool

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LIMIT, OWN_WORDS = 7, "mine"


@pytest.fixture
def pool(breaker: Breaker) -> Pool:
    return breaker.pool(concurrency_limit=LIMIT, description=OWN_WORDS)


async def writes(pool: Pool) -> tuple[Row, Row]:
    """What the turns to open and to half-open set; the circuit is half-open."""
    await pool.open()
    opened = pool.now()
    pool.wait_until_over()
    await pool.look()
    tried = pool.now()
    assert (opened["is_paused"], tried["concurrency_limit"]) == (True, 1)
    pool.wait_for_trial()
    return {key: opened[key] for key in ("is_paused", "description")}, tried


def arrives(pool: Pool, write: Row) -> None:
    """The write is carried out now."""
    before = len(pool.events("prefect.work-pool.updated"))
    pool.change(**write)
    pool.wait_for_event("prefect.work-pool.updated", before + 1)


async def until_as_before(pool: Pool, before: Row) -> None:
    for _ in range(4):
        if pool.phase() == "half-open":
            pool.wait_for_trial()
            pool.succeed(3)
        await pool.look()
        if pool.now() == before:
            return
    raise AssertionError((pool.now(), pool.records()))


async def close(pool: Pool) -> None:
    pool.succeed(3)
    await pool.look()
    assert pool.phase() == "closed"
    # Not in the very second of the last turn, in which no late write can come.
    wait_for(lambda: pool.breaker.server_time().isoformat() > str(pool.circuit()["since"]), what="the next second")


async def test_a_pause_that_comes_after_it_was_closed_ends(pool: Pool) -> None:
    before = pool.now()
    opened, _ = await writes(pool)
    await close(pool)
    arrives(pool, opened)
    await pool.look()
    assert (pool.phase(), pool.is_paused, pool.circuit()["former_limit"]) == ("half-open", False, LIMIT)
    await until_as_before(pool, before)


async def test_a_pause_that_comes_during_the_trial_ends_and_the_limit_comes_back(pool: Pool) -> None:
    before = pool.now()
    opened, _ = await writes(pool)
    arrives(pool, opened)
    await pool.look()
    assert (pool.phase(), pool.is_paused, pool.circuit()["former_limit"]) == ("half-open", False, LIMIT)
    await until_as_before(pool, before)


async def test_a_trial_that_comes_after_it_was_closed_ends_and_the_limit_comes_back(pool: Pool) -> None:
    before = pool.now()
    _, tried = await writes(pool)
    await close(pool)
    arrives(pool, tried)
    await until_as_before(pool, before)


@pytest.mark.parametrize("again", [{}, {"is_paused": False}])
async def test_what_a_person_pauses_after_such_a_write_stays_paused(pool: Pool, again: dict[str, Any]) -> None:
    opened, _ = await writes(pool)
    await close(pool)
    arrives(pool, opened)
    wait_for(lambda: len(pool.events("prefect.work-pool.paused")) == 2, what="both pauses")
    written = datetime.fromisoformat(pool.events("prefect.work-pool.updated")[0]["occurred"])
    # What comes within a second is taken for the same write.
    wait_for(lambda: pool.breaker.server_time() > written + timedelta(seconds=3), what="a moment after it")
    if again:
        pool.change(**again)
    pool.change(is_paused=True)
    wait_for(lambda: len(pool.events("prefect.work-pool.paused")) == 3, what="the person's pause")
    for _ in range(2):
        await pool.look()
        assert pool.is_paused, pool.rows()


async def test_a_pause_that_comes_late_while_it_is_open_is_no_persons(pool: Pool) -> None:
    before = pool.now()
    opened, _ = await writes(pool)
    pool.fail(3)
    await pool.look()
    assert (pool.phase(), pool.is_paused) == ("open", True)
    arrives(pool, opened | {"description": f"{opened['description']} "})
    pool.wait_until_over()
    await pool.look()
    assert pool.phase() == "half-open", pool.rows()
    await until_as_before(pool, before | {"description": f"{OWN_WORDS} "})

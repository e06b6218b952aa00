"""pool-auto-pause beside pool-lifecycle: a person's pause by hand is a person's pause, and leaves nothing behind."""

import pytest

from tests.server.breaker import LONG, Breaker
from tests.server.hand import ask

pytestmark = [pytest.mark.anyio, pytest.mark.long]

OVER = "the pause that its note tells of is over"


async def test_what_a_person_pauses_by_hand_is_never_resumed_even_if_auto_pause_had_paused_it(breaker: Breaker) -> None:
    pool = breaker.pool(description="mine", concurrency_limit=7)
    before = pool.now()
    await pool.open()
    state = await ask("pause", pool.name)
    assert state.type.value == "COMPLETED"
    pool.wait_until_over()
    await pool.look()
    assert pool.is_paused
    assert pool.phase() == "closed"
    # Each has taken its own note away.
    described = pool.now()["description"]
    assert described.startswith("[Poolkeeper: paused on ")
    assert described.endswith("\n\nmine")
    assert "Lease" not in described
    pool.fail(4)
    await pool.look()
    assert pool.is_paused
    assert pool.row()["reason"] == "paused by a person, who alone resumes it"
    await ask("resume", pool.name)
    assert pool.now() == before


async def test_a_sweep_takes_the_note_of_a_pause_away_that_was_ended_in_the_ui(breaker: Breaker) -> None:
    pool = breaker.pool(description="mine")
    before = pool.now()
    await ask("pause", pool.name)
    await pool.look()
    assert pool.row()["verb"] == "leave"
    pool.change(is_paused=False)
    noted = pool.now()
    await pool.look(dry_run=True)
    assert pool.now() == noted
    assert (pool.row()["verb"], pool.row()["outcome"]) == ("change", "planned")
    await pool.look()
    assert pool.now() == before
    assert (pool.row()["verb"], pool.row()["reason"], pool.row()["outcome"]) == ("change", OVER, "done")
    assert "note of an ended pause taken away" in pool.page()
    assert pool.records() == []
    await pool.look()
    assert pool.row()["verb"] == "leave"


async def test_a_pool_that_fails_while_it_bears_such_a_note_is_paused_and_comes_back_without_it(
    breaker: Breaker,
) -> None:
    pool = breaker.pool(description="mine")
    before = pool.now()
    await ask("pause", pool.name)
    pool.change(is_paused=False)
    pool.wait_for_event("prefect.work-pool.not-ready")
    pool.fail(4)
    await pool.look()
    assert pool.is_paused
    assert pool.now()["description"].count("Poolkeeper") == 1
    pool.wait_until_over()
    await pool.look()
    assert pool.phase() == "half-open"
    pool.wait_for_trial()
    pool.succeed(3)
    await pool.look()
    assert pool.now() == before


async def test_a_person_resumes_by_hand_what_auto_pause_has_paused_and_keeps_it(breaker: Breaker) -> None:
    pool = breaker.pool(description="mine")
    before = pool.now()
    await pool.open(recovery=LONG)
    await ask("resume", pool.name)
    assert pool.now() == before
    await pool.look(recovery=LONG)
    assert pool.now() == before
    assert pool.phase() == "closed"

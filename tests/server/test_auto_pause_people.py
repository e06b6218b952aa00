"""A person always wins: what people pause, resume, limit or write down for pool-auto-pause stays as they want it."""

from typing import Any

import pytest

from tests.server.breaker import LONG, OVERRIDES, QUICK, Breaker, Pool, passed, quarantined

pytestmark = [pytest.mark.anyio, pytest.mark.long]

PAUSED, RESUMED, DEPLOYMENT_UPDATED = (
    "prefect.work-pool.paused", "prefect.work-pool.not-ready", "prefect.deployment.updated",
)  # fmt: skip


async def test_a_pool_that_a_person_paused_is_left_alone_however_it_fails(breaker: Breaker) -> None:
    pool = breaker.pool(is_paused=True, description="mine", concurrency_limit=7)
    before = pool.now()
    pool.fail(4)
    for _ in range(2):
        await pool.look()
    assert pool.now() == before
    assert pool.records() == []
    assert (pool.row()["verb"], pool.row()["reason"]) == ("leave", "paused by a person, who alone resumes it")


async def test_a_pool_that_a_person_paused_anew_while_it_was_open_is_never_resumed(breaker: Breaker) -> None:
    pool = breaker.pool(description="mine")
    await pool.open()
    pool.change(is_paused=False)
    pool.change(is_paused=True)
    pool.wait_until_over()
    pool.wait_for_event(PAUSED, 2)
    for _ in range(2):
        await pool.look()
        assert pool.now() == {"is_paused": True, "concurrency_limit": None, "description": "mine"}
    assert pool.phase() == "closed"
    assert pool.row()["reason"] == "paused by a person, who alone resumes it"


async def test_a_pool_that_a_person_pauses_while_it_is_half_open_stays_paused_with_its_former_limit(
    breaker: Breaker,
) -> None:
    pool = breaker.pool(description="mine", concurrency_limit=7)
    await pool.half_open()
    pool.change(is_paused=True)
    pool.succeed(3)
    for _ in range(2):
        await pool.look()
        assert pool.now() == {"is_paused": True, "concurrency_limit": 7, "description": "mine"}
    assert pool.phase() == "closed"


async def test_a_pool_that_a_person_resumes_while_it_is_open_is_left_to_them(breaker: Breaker) -> None:
    pool = breaker.pool(description="mine")
    await pool.open(recovery=LONG)
    pool.change(is_paused=False)
    for _ in range(3):
        await pool.look(recovery=LONG)
        assert pool.now() == {"is_paused": False, "concurrency_limit": None, "description": "mine"}
    assert pool.phase() == "closed"
    assert "a person resumed it" in pool.circuit()["reason"]
    passed(pool.circuit()["since"])
    pool.fail(4)
    await pool.look(recovery=LONG)
    assert pool.is_paused


async def test_what_failed_before_a_person_resumed_their_own_pause_does_not_count(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(4)
    pool.change(is_paused=True)
    pool.change(is_paused=False)
    pool.wait_for_event(RESUMED, 1)
    pool.wait_for_event(PAUSED, 1)
    await pool.look()
    assert not pool.is_paused
    assert pool.row()["reason"] == "0 runs ended, too few to judge (at least 4)"
    pool.fail(4)
    await pool.look()
    assert pool.is_paused
    assert pool.row()["failed"] == 4


async def test_a_limit_that_a_person_sets_stays_whenever_they_do(breaker: Breaker) -> None:
    pool = breaker.pool(concurrency_limit=7)
    await pool.open()
    pool.change(concurrency_limit=5)
    pool.wait_until_over()
    await pool.look()
    assert (pool.circuit()["former_limit"], pool.now()["concurrency_limit"]) == (5, 1)
    pool.change(concurrency_limit=9)
    pool.wait_for_trial()
    pool.fail(2)
    await pool.look()
    assert (pool.is_paused, pool.now()["concurrency_limit"]) == (True, 9)
    pool.wait_until_over()
    await pool.look()
    pool.change(concurrency_limit=None)
    pool.wait_for_trial()
    pool.succeed(3)
    await pool.look()
    assert pool.now() == {"is_paused": False, "concurrency_limit": None, "description": None}


async def test_what_a_person_writes_into_the_description_meanwhile_stays(breaker: Breaker) -> None:
    pool = breaker.pool(description="before")
    await pool.half_open()
    pool.change(description=pool.now()["description"].replace("before", "after") + "\nand more")
    pool.succeed(3)
    await pool.look()
    assert pool.now()["description"] == "after\nand more"


async def test_a_person_who_deletes_the_note_and_resumes_gets_what_they_left(breaker: Breaker) -> None:
    pool = breaker.pool(description="before")
    await pool.open(recovery=LONG)
    pool.change(description="mine alone", is_paused=False)
    await pool.look(recovery=LONG)
    assert pool.now() == {"is_paused": False, "concurrency_limit": None, "description": "mine alone"}
    assert pool.phase() == "closed"


async def test_a_pause_whose_record_a_person_deleted_is_taken_up_from_its_note(breaker: Breaker) -> None:
    pool = breaker.pool(concurrency_limit=7, description="mine")
    await pool.open(recovery=LONG)
    breaker.rest.delete(f"/variables/name/{pool.circuit()['variable']}").raise_for_status()
    await pool.look()
    assert pool.phase() == "half-open"
    breaker.rest.delete(f"/variables/name/{pool.circuit()['variable']}").raise_for_status()
    await pool.look()
    pool.wait_for_trial()
    pool.succeed(3)
    await pool.look()
    assert pool.now() == {"is_paused": False, "concurrency_limit": 7, "description": "mine"}


async def test_a_deployment_that_a_person_resumes_is_left_to_them(breaker: Breaker) -> None:
    pool, bad = quarantined(breaker)
    await pool.look(recovery=LONG)
    change(pool, bad, paused=False)
    for _ in range(2):
        await pool.look(recovery=LONG)
        assert not deployment(pool, bad)["paused"]
        assert not pool.is_paused
    assert deployment(pool, bad)["description"] == "its owner's words"


async def test_a_deployment_that_a_person_paused_is_never_resumed(breaker: Breaker) -> None:
    pool, bad = quarantined(breaker)
    change(pool, bad, paused=True)
    await pool.look()
    assert deployment(pool, bad)["description"] == "its owner's words"
    assert (pool.is_paused, pool.records(bad["id"])) == (False, [])
    change(pool, bad, paused=False)
    other = pool.deployment(description="mine")
    pool.fail(4, of=other)
    pool.succeed(4)
    pool.wait_for_event(DEPLOYMENT_UPDATED, 2, bad["id"])
    await pool.look()
    assert (deployment(pool, bad)["paused"], deployment(pool, other)["paused"]) == (False, True)
    change(pool, other, paused=False)
    change(pool, other, paused=True)
    pool.wait_until_over(other["id"])
    pool.wait_for_event(DEPLOYMENT_UPDATED, 3, other["id"])
    for _ in range(2):
        await pool.look()
        assert deployment(pool, other)["paused"]
    assert deployment(pool, other)["description"] == "mine"
    assert pool.phase(other["id"]) == "closed"


async def test_a_pool_whose_circuit_a_person_switched_off_is_left_alone(breaker: Breaker) -> None:
    pool = breaker.pool(description="mine")
    pool.fail(4)
    with breaker.overrides({pool.name: "disabled"}):
        await pool.look()
    assert not pool.is_paused
    assert pool.records() == []
    assert pool.row()["reason"] == f"a person switched its circuit off ({OVERRIDES})"


async def test_switching_a_circuit_off_resumes_what_it_had_paused(breaker: Breaker) -> None:
    opened, trying = breaker.pool(description="mine"), breaker.pool(concurrency_limit=7)
    before = opened.now(), trying.now()
    await trying.half_open()
    await opened.open(recovery=LONG)
    with breaker.overrides({opened.name: "disabled", trying.name: {"circuit": "disabled"}}):
        await breaker.look(opened, trying, recovery=LONG)
        assert (opened.now(), trying.now()) == before
        assert (opened.phase(), trying.phase()) == ("closed", "closed")


async def test_a_circuit_that_a_person_wishes_open_is_open_until_they_take_that_back(breaker: Breaker) -> None:
    pool = breaker.pool(concurrency_limit=7, description="mine")
    before = pool.now()
    with breaker.overrides({pool.name: "open"}):
        for _ in range(2):
            await pool.look()
            assert pool.is_paused
        assert pool.circuit()["until"] is None
        assert f"until {OVERRIDES} lets it go" in pool.now()["description"]
        assert pool.row()["reason"] == f"open for as long as {OVERRIDES} says so"
    await pool.look()
    assert pool.phase() == "half-open"
    assert not pool.is_paused
    pool.wait_for_trial()
    pool.succeed(3)
    await pool.look()
    assert pool.now() == before


async def test_a_wish_keeps_open_what_is_open_or_half_open_already(breaker: Breaker) -> None:
    opened, trying = breaker.pool(concurrency_limit=7), breaker.pool(concurrency_limit=7)
    await trying.half_open()
    await opened.open()
    opened.wait_until_over()
    with breaker.overrides({opened.name: "open", trying.name: "open"}):
        await breaker.look(opened, trying)
    for pool in (opened, trying):
        assert (pool.is_paused, pool.now()["concurrency_limit"]) == (True, 7)
        assert pool.circuit()["until"] is None


async def test_a_person_who_resumes_what_they_wished_open_keeps_it_resumed(breaker: Breaker) -> None:
    pool = breaker.pool()
    with breaker.overrides({pool.name: "open"}):
        await pool.look()
        pool.change(is_paused=False)
        for _ in range(3):
            await pool.look()
            assert not pool.is_paused
        breaker.write_overrides({})
        await pool.look()
        breaker.write_overrides({pool.name: "open"})
        await pool.look()
        assert pool.is_paused


async def test_pools_of_which_nonsense_is_written_are_left_alone_and_the_others_are_not(breaker: Breaker) -> None:
    written: list[Any] = ["opne", 3, None, ["open"], {"cooldown": 1}, {"circuit": "open", "probe_runs": 0}]
    other, *pools = [breaker.pool() for _ in range(1 + len(written))]
    for pool in breaker.pools:
        pool.fail(4)
    wishes = {pool.name: nonsense for pool, nonsense in zip(pools, written, strict=True)}
    with breaker.overrides({**wishes, "no-such-pool": "open"}):
        await breaker.look(other, *pools)
        assert other.is_paused
        assert not any(pool.is_paused for pool in pools)
        await pools[0].look()
        assert f"says neither `open` nor `disabled` of it: {', '.join(sorted(wishes)[:3])}" in pools[0].page()


@pytest.mark.parametrize("nonsense", ["open", ["etl"], 7])
async def test_overrides_that_are_no_mapping_fail_the_run_and_nothing_is_done(breaker: Breaker, nonsense: Any) -> None:
    pool = breaker.pool()
    pool.fail(4)
    with breaker.overrides(nonsense):
        state = await pool.look()
    assert state.is_failed()
    assert f"The variable '{OVERRIDES}' does not hold a JSON object" in state.message
    assert "Nothing was done" in state.message
    assert not pool.is_paused
    assert pool.records() == []


async def test_how_one_pool_comes_back_is_as_a_person_wrote_it_for_that_pool(breaker: Breaker) -> None:
    pool, other = breaker.pool(), breaker.pool()
    pool.fail(4)
    other.fail(4)
    with breaker.overrides({pool.name: {"cooldown_minutes": 60, "probe_runs": 1}}):
        await breaker.look(pool, other)
        other.wait_until_over()
        await breaker.look(pool, other, recovery=QUICK)
    assert (pool.phase(), other.phase()) == ("open", "half-open")


def deployment(pool: Pool, row: dict[str, Any]) -> dict[str, Any]:
    """As it is now."""
    return dict(pool.rest.read(f"/deployments/{row['id']}"))


def change(pool: Pool, row: dict[str, Any], **fields: Any) -> None:
    """As a person does on the deployment's page."""
    pool.rest.patch(f"/deployments/{row['id']}", json=fields).raise_for_status()


async def test_a_person_who_pauses_just_before_the_end_of_the_lease_is_not_overridden(breaker: Breaker) -> None:
    pool = breaker.pool()
    await pool.open()
    pool.wait_until_over()
    pool.change(is_paused=False)
    pool.change(is_paused=True)
    await pool.look()
    assert pool.is_paused


async def test_what_failed_before_a_person_just_resumed_does_not_count(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(4)
    pool.change(is_paused=True)
    pool.change(is_paused=False)
    await pool.look()
    assert not pool.is_paused

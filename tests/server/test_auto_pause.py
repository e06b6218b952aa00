"""When pool-auto-pause takes something for failing, what it does then, and how it brings it back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.policy.suspicion import TOLD_LATE
from tests.rest import wait_for
from tests.server.breaker import HELD, LONG, Breaker, Pool, passed, quarantined

pytestmark = pytest.mark.anyio


async def test_three_crashed_runs_among_sixty_good_ones_pause_nothing(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.succeed(60)
    pool.end(3, "RUNNING", "CRASHED")
    state = await pool.look(threshold={})
    assert state.is_completed()
    assert not pool.is_paused
    assert pool.records() == []
    assert (pool.row()["verb"], pool.row()["failed"]) == ("leave", 3)


@pytest.mark.parametrize(("good", "paused"), [(2, True), (3, False)])
async def test_exactly_at_the_threshold_it_is_paused_and_just_below_not(
    breaker: Breaker, good: int, paused: bool
) -> None:
    pool = breaker.pool()
    pool.succeed(good)
    pool.fail(2)
    await pool.look(threshold={"minimum_runs": 4, "failure_rate": 0.5})
    assert pool.is_paused is paused
    assert f"2 of {good + 2} runs failed" in pool.row()["reason"]


async def test_too_few_runs_are_no_failure_and_the_row_says_so(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(3)
    await pool.look()
    assert not pool.is_paused
    assert pool.row()["reason"] == "3 runs ended, too few to judge (at least 4)"


async def test_cancelled_runs_count_neither_as_failed_nor_as_ended(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.succeed(3)
    pool.fail(2)
    pool.end(40, "RUNNING", "CANCELLED")
    await pool.look(threshold={"minimum_runs": 5, "failure_rate": 0.4})
    assert pool.row()["reason"].startswith("2 of 5 runs failed")
    assert pool.is_paused


@pytest.mark.parametrize("counted", [True, False])
async def test_crashed_runs_count_as_they_are_asked_to(breaker: Breaker, counted: bool) -> None:
    pool = breaker.pool()
    pool.end(4, "RUNNING", "CRASHED")
    await pool.look(threshold={"minimum_runs": 4, "count_crashed": counted})
    assert pool.is_paused is counted


async def test_what_ended_before_the_window_does_not_count_and_all_within_does(breaker: Breaker) -> None:
    before, beginning = timedelta(minutes=10, seconds=5), timedelta(minutes=9, seconds=45)
    middle, end = timedelta(minutes=5), timedelta(seconds=1)
    paused = {}
    for failed, good in ((before, middle), (beginning, middle), (middle, beginning), (end, beginning), (end, before)):
        pool = breaker.pool()
        pool.fail(3, ago=failed)
        pool.succeed(3, ago=good)
        paused[pool] = before not in (failed, good)
    await breaker.look(*paused, threshold={"minimum_runs": 4, "window_minutes": 10})
    assert {pool: pool.is_paused for pool in paused} == paused


async def test_a_pause_says_why_who_since_when_and_until_when_on_the_pool_and_in_its_record(breaker: Breaker) -> None:
    pool = breaker.pool(description="The owner's *own* [words].", concurrency_limit=7)
    pool.fail(4)
    state = await pool.look(recovery=LONG)
    assert state.is_completed()
    assert f"paused: {pool.name}" in state.message
    now, circuit = pool.now(), pool.circuit()
    note, _, own = now["description"].partition("\n\n")
    reason = "4 of 4 runs failed (100%, threshold 50%)"
    since, until = datetime.fromisoformat(circuit["since"]), datetime.fromisoformat(circuit["until"])
    assert own == "The owner's *own* [words]."
    assert now["is_paused"]
    assert now["concurrency_limit"] == 7
    assert note.startswith(f"[Poolkeeper: paused by pool-auto-pause on {since:%Y-%m-%d %H:%M:%S} UTC")
    assert f"until {until:%Y-%m-%d %H:%M:%S} UTC" in note
    assert f"Why: {reason}" in note
    assert circuit["variable"].startswith(f"poolkeeper_circuit_{pool.name}_")
    assert (circuit["phase"], circuit["applied"]) == ("open", True)
    assert circuit["reason"].startswith(reason)
    assert timedelta(minutes=60) <= until - since <= timedelta(minutes=66)
    row = pool.row()
    assert (row["verb"], row["outcome"], row["circuit"], row["until"]) == ("pause", "done", "open", until.isoformat())
    (event,) = wait_for(lambda: pool.events("poolkeeper.pool.paused"), what="the event")
    assert event["payload"]["reason"] == circuit["reason"]
    assert event["payload"]["until"] == until.isoformat()


async def test_the_end_of_a_pause_is_booked_as_a_run_of_its_own(breaker: Breaker) -> None:
    keeper = breaker.pool()
    entrypoint = "flows/auto_pause.py:auto_pause"
    management = keeper.deployment(name="management", tags=["poolkeeper"], entrypoint=entrypoint)
    pool = breaker.pool()
    pool.fail(4)
    for _ in range(2):
        await pool.look(recovery=LONG)
    (run,) = breaker.rest.everything("/flow_runs/filter", flow_runs={"deployment_id": {"any_": [management["id"]]}})
    late = datetime.fromisoformat(run["expected_start_time"]) - datetime.fromisoformat(pool.circuit()["until"])
    assert late == TOLD_LATE
    assert run["parameters"]["pools"] == [pool.name]
    assert run["parameters"]["recovery"]["cooldown_minutes"] == 60
    assert run["parameters"]["dry_run"] is False
    # As if the run that paused it had died before it booked this.
    breaker.rest.delete(f"/flow_runs/{run['id']}").raise_for_status()
    await breaker.look(pool, keeper, recovery=LONG)
    (anew,) = breaker.rest.everything("/flow_runs/filter", flow_runs={"deployment_id": {"any_": [management["id"]]}})
    assert anew["expected_start_time"] == run["expected_start_time"]
    assert anew["parameters"] == run["parameters"]


async def test_it_stays_paused_for_as_long_as_the_cooldown_lasts(breaker: Breaker) -> None:
    pool = breaker.pool()
    await pool.open(recovery=LONG)
    before = pool.now(), pool.records()
    pool.succeed(50)
    await pool.look(recovery=LONG)
    assert (pool.now(), pool.records()) == before
    assert pool.row()["verb"] == "leave"
    assert pool.row()["reason"].startswith("open until ")


async def test_a_few_runs_may_try_and_when_they_do_well_everything_is_exactly_as_before(breaker: Breaker) -> None:
    fields: list[tuple[int | None, int, str | None]] = [
        (7, 1, "mine"), (1, 1, "  two lines,\n\nand [brackets]\n"), (0, 0, ""), (None, 1, None),
    ]  # fmt: skip
    pools = [breaker.pool(concurrency_limit=limit, description=words) for limit, _, words in fields]
    for pool in pools:
        pool.fail(4)
    await breaker.look(*pools)
    assert all(pool.is_paused for pool in pools)
    for pool in pools:
        pool.wait_until_over()
    await breaker.look(*pools)
    for pool, (limit, probe, words) in zip(pools, fields, strict=True):
        now, circuit = pool.now(), pool.circuit()
        assert (now["is_paused"], now["concurrency_limit"]) == (False, probe)
        assert f"Former limit: {'none' if limit is None else limit}." in now["description"]
        assert now["description"].endswith("]" if words is None else f"]\n\n{words}")
        assert (circuit["phase"], circuit["former_limit"], circuit["probe_limit"]) == ("half-open", limit, probe)
    for pool in pools:
        pool.wait_for_trial()
        pool.succeed(3)
    await breaker.look(*pools)
    for pool, (limit, _, words) in zip(pools, fields, strict=True):
        assert pool.now() == {"is_paused": False, "concurrency_limit": limit, "description": words}
        assert [moment["phase"] for moment in pool.circuit()["story"]] == ["open", "half-open", "closed"]


async def test_a_probe_limit_of_ones_own_is_used(breaker: Breaker) -> None:
    pool = breaker.pool(concurrency_limit=7)
    await pool.half_open(recovery={"cooldown_minutes": 0.03, "probe_limit": 3, "probe_runs": 1})
    assert pool.now()["concurrency_limit"] == 3
    pool.succeed(1)
    await pool.look(recovery={"cooldown_minutes": 0.03, "probe_limit": 3, "probe_runs": 1})
    assert pool.now()["concurrency_limit"] == 7


async def test_runs_that_were_running_already_do_not_decide(breaker: Breaker) -> None:
    pool = breaker.pool()
    running = [breaker.rest.run(pool.usual, "RUNNING") for _ in range(4)]
    await pool.half_open()
    for run, state in zip(running, ("FAILED", "FAILED", "COMPLETED", "CRASHED"), strict=True):
        breaker.rest.ask(f"/flow_runs/{run}/set_state", state={"type": state}, force=True)
    await pool.look()
    assert pool.phase() == "half-open"
    assert pool.row()["reason"].endswith("0 of 3 probe runs ended, 0 failed")


async def test_probe_runs_that_fail_open_it_again_and_for_longer(breaker: Breaker) -> None:
    recovery = {"cooldown_minutes": 0.03, "backoff": 3}
    pool = breaker.pool(concurrency_limit=7, description="mine")
    await pool.open(recovery=recovery)
    first = pool.circuit()
    pool.wait_until_over()
    await pool.look(recovery=recovery)
    pool.wait_for_trial()
    pool.fail(1)
    await pool.look(recovery=recovery)
    assert pool.phase() == "half-open"
    pool.end(1, "CRASHED")
    await pool.look(recovery=recovery)
    again = pool.circuit()
    assert (again["phase"], again["reopened"], again["lease"]) == ("open", 1, first["lease"])
    assert lasted(again) > 2.5 * lasted(first)
    assert pool.now()["is_paused"]
    assert pool.now()["concurrency_limit"] == 7
    assert "2 of 2 probe runs failed: still failing" in pool.now()["description"]
    pool.wait_until_over()
    await pool.look(recovery=recovery)
    pool.wait_for_trial()
    pool.succeed(3)
    await pool.look(recovery=recovery)
    assert pool.now() == {"is_paused": False, "concurrency_limit": 7, "description": "mine"}


async def test_counts_start_anew_once_it_is_closed(breaker: Breaker) -> None:
    pool = breaker.pool()
    await pool.recover()
    await pool.look()
    assert not pool.is_paused
    passed(pool.circuit()["since"])
    # With those from before the pause it would be 5 of 8.
    pool.fail(1)
    await pool.look()
    assert (pool.is_paused, pool.row()["failed"]) == (False, 1)
    pool.fail(4)
    await pool.look()
    assert (pool.is_paused, pool.row()["failed"]) == (True, 5)
    assert len(pool.records()) == 1


async def test_one_bad_deployment_among_good_ones_is_paused_alone_and_its_queued_runs_wait(breaker: Breaker) -> None:
    pool, bad = quarantined(breaker)
    queued, by_hand = pool.late(2, of=bad), pool.late(1, of=bad, by_schedule=False)
    others = pool.late(1)
    await pool.look(recovery=LONG)
    assert not pool.is_paused
    assert pool.records() == []
    assert deployment(pool, bad)["paused"]
    assert not deployment(pool, pool.usual)["paused"]
    assert deployment(pool, bad)["description"].startswith("[Poolkeeper: paused by pool-auto-pause on ")
    assert deployment(pool, bad)["description"].endswith("\n\nits owner's words")
    row = pool.row("deployment")
    assert (row["verb"], row["outcome"], row["finished"], row["failed"]) == ("pause", "done", 5, 4)
    assert "the rest of its work pool is healthy (1 of 5 runs failed)" in row["reason"]
    assert "1 deployment of it is failing alone" in pool.row()["reason"]
    until = datetime.fromisoformat(pool.circuit(bad["id"])["until"])
    assert [waiting(pool, run) for run in queued] == [(HELD, until)] * 2
    assert [waiting(pool, run)[0] for run in (*by_hand, *others)] == ["Late", "Late"]


@pytest.mark.parametrize("good", [0, 3])
async def test_with_no_evidence_about_the_rest_the_pool_is_paused(breaker: Breaker, good: int) -> None:
    pool = breaker.pool()
    bad = pool.deployment()
    pool.fail(4, of=bad)
    if good:
        pool.succeed(good)
    await pool.look()
    assert pool.is_paused
    assert not deployment(pool, bad)["paused"]
    unproven = f"{good} good runs of the rest" if good else "nothing else ran"
    assert unproven in pool.row()["reason"]


async def test_where_all_deployments_fail_the_pool_is_paused(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(4, of=pool.deployment())
    pool.fail(4)
    pool.succeed(4)
    await pool.look()
    assert pool.is_paused


async def test_a_deployment_whose_probe_runs_fail_is_paused_again(breaker: Breaker) -> None:
    pool, bad = quarantined(breaker)
    await pool.look()
    pool.wait_until_over(bad["id"])
    await pool.look()
    pool.wait_for_trial(bad["id"])
    pool.succeed(3)
    pool.fail(2, of=bad)
    await pool.look()
    assert deployment(pool, bad)["paused"]
    assert pool.circuit(bad["id"])["reopened"] == 1
    assert not pool.is_paused


async def test_a_quarantined_deployments_failures_are_not_held_against_its_pool(breaker: Breaker) -> None:
    pool, bad = quarantined(breaker)
    await pool.look(recovery=LONG)
    pool.fail(40, of=bad)
    await pool.look(recovery=LONG)
    assert not pool.is_paused
    assert pool.row()["finished"] == 5


@pytest.mark.parametrize("backlog", ["keep", "latest", "drop"])
async def test_only_runs_that_a_schedule_made_are_dropped_and_as_many_as_asked_for(
    breaker: Breaker, backlog: str
) -> None:
    pool = breaker.pool()
    other = pool.deployment()
    recovery = {"cooldown_minutes": 0.03, "backlog": backlog}
    await pool.open(recovery=recovery)
    older, old, newest = pool.late(3)
    of_other = pool.late(2, of=other)
    untouched = [
        *pool.late(1, by_schedule=False), *pool.late(1, run_count=1), *pool.late(1, state_name="Resuming"),
    ]  # fmt: skip
    dropped = {"keep": set(), "latest": {older, old, of_other[0]}, "drop": {older, old, newest, *of_other}}[backlog]
    pool.wait_until_over()
    state = await pool.look(recovery=recovery)
    assert state.is_completed()
    assert pool.phase() == "half-open"
    every = [older, old, newest, *of_other, *untouched]
    assert {run for run in every if waiting(pool, run)[0] == "Cancelled"} == dropped
    rows = [row for row in pool.rows() if row["kind"] == "run"]
    assert {row["id"] for row in rows} == dropped
    assert {(row["verb"], row["outcome"]) for row in rows} == ({("cancel", "done")} if dropped else set())
    assert ("## Runs dropped from the backlog" in pool.page()) is bool(dropped)
    assert all(f"/runs/flow-run/{run}" in pool.page() for run in dropped)
    assert ("backlog, " in state.message) is bool(dropped)


async def test_a_dry_run_changes_nothing_and_advances_a_shadow(breaker: Breaker) -> None:
    pool = breaker.pool(concurrency_limit=7, description="mine")
    before = pool.now()
    pool.fail(4)
    [late] = pool.late()
    recovery = {"cooldown_minutes": 0.03, "backlog": "drop"}

    async def look(verb: str, phase: str) -> None:
        state = await pool.look(dry_run=True, recovery=recovery)
        assert state.message.startswith("Dry run: ")
        assert (pool.row()["verb"], pool.row()["outcome"]) == (verb, "planned")
        assert pool.phase(of="shadow") == phase
        assert (pool.now(), pool.records()) == (before, [])
        assert waiting(pool, late)[0] == "Late"

    await look("pause", "open")
    pool.wait_until_over(of="shadow")
    await look("resume", "half-open")
    pool.wait_for_trial(of="shadow")
    pool.fail(3)
    await look("pause", "open")
    assert pool.circuit(of="shadow")["reopened"] == 1
    pool.wait_until_over(of="shadow")
    await look("resume", "half-open")
    pool.wait_for_trial(of="shadow")
    pool.succeed(3)
    await look("change", "closed")


async def test_without_dry_run_it_pauses_in_truth_and_the_shadow_is_gone(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.fail(4)
    await pool.look(dry_run=True, recovery=LONG)
    await pool.look(dry_run=True, recovery=LONG)
    assert pool.row()["verb"] == "leave"
    await pool.look(recovery=LONG)
    assert pool.is_paused
    assert pool.records(of="shadow") == []
    assert (pool.row()["verb"], pool.row()["outcome"]) == ("pause", "done")


async def test_a_dry_run_leaves_a_circuit_that_is_open_in_truth_as_it_is(breaker: Breaker) -> None:
    pool = breaker.pool()
    await pool.open()
    before = pool.now(), pool.records()
    pool.wait_until_over()
    await pool.look(dry_run=True)
    assert (pool.row()["verb"], pool.row()["outcome"]) == ("resume", "planned")
    assert (pool.now(), pool.records()) == before
    assert pool.records(of="shadow") == []


def deployment(pool: Pool, row: dict[str, Any]) -> dict[str, Any]:
    """As it is now."""
    return dict(pool.rest.read(f"/deployments/{row['id']}"))


def waiting(pool: Pool, run: str) -> tuple[str, datetime]:
    """The name of a run's state, and when it is to start."""
    row = pool.rest.read(f"/flow_runs/{run}")
    at = row["state"]["state_details"]["scheduled_time"] or row["expected_start_time"]
    return row["state_name"], datetime.fromisoformat(at)


def lasted(circuit: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(circuit["until"]) - datetime.fromisoformat(circuit["since"])


async def test_a_deployment_comes_back_as_a_pool_does_and_what_was_held_back_is_let_go_a_few_first(
    breaker: Breaker,
) -> None:
    pool, bad = quarantined(breaker)
    queued = pool.late(5, of=bad)
    await pool.look()
    pool.wait_until_over(bad["id"])
    await pool.look()
    assert not deployment(pool, bad)["paused"]
    assert pool.phase(bad["id"]) == "half-open"
    moments = [waiting(pool, run)[1] for run in queued]
    # Prefect's clock is read in whole seconds, rounded up: the lease may end up to a second early.
    wait_for(lambda: max(moments[:3]) <= datetime.now(UTC), seconds=2)
    assert len(set(moments[3:])) == 1
    assert moments[3] > max(moments[:3])
    pool.wait_for_trial(bad["id"])
    pool.succeed(3, of=bad)
    await pool.look()
    assert pool.phase(bad["id"]) == "closed"
    assert deployment(pool, bad)["description"] == "its owner's words"
    assert [name for name, _ in (waiting(pool, run) for run in queued)] == [HELD] * 5
    wait_for(lambda: all(waiting(pool, run)[1] < datetime.now(UTC) for run in queued), seconds=5)
    await pool.look()
    assert not deployment(pool, bad)["paused"]


async def test_what_is_kept_of_a_pool_or_deployment_goes_when_that_is_gone(breaker: Breaker) -> None:
    gone, other = breaker.pool(), breaker.pool()
    await gone.open(recovery=LONG)
    bad = other.deployment()
    other.fail(4, of=bad)
    other.succeed(4)
    await other.look(recovery=LONG)
    assert (len(gone.records()), len(other.records(bad["id"]))) == (1, 1)
    breaker.rest.delete_pool(gone.name)
    breaker.rest.delete(f"/deployments/{bad['id']}")
    await other.look()
    assert (gone.records(), other.records(bad["id"])) == ([], [])


async def test_a_real_look_at_one_pool_leaves_the_shadow_of_another_as_it_is(breaker: Breaker) -> None:
    pool, other = breaker.pool(), breaker.pool()
    pool.fail(4)
    await pool.look(dry_run=True, recovery=LONG)
    assert pool.phase(of="shadow") == "open"
    await other.look()
    assert pool.phase(of="shadow") == "open"

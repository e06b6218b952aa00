from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.demand import PoolDemand
from flows.policy.facts import DeploymentFacts, RunFacts
from flows.policy.fleet import PoolState
from flows.policy.forecast import Expectation, Standing, expect
from flows.policy.upcoming import UpcomingRun
from tests.builders import NOW, ago, coming, demand, deployment, queue, run, state, upcoming, worker, zombie

NIGHTLY = "id-flow/nightly"
LENGTHS = (timedelta(0), timedelta(seconds=20), timedelta(minutes=1), timedelta(minutes=5))


def one(each: UpcomingRun | None = None, **asked: Any) -> Expectation:
    (found,) = expect(demand(each or upcoming(), **asked))
    return found


def starts(found: Sequence[Expectation]) -> list[timedelta | None]:
    return [each.expected_start_at - NOW if each.expected_start_at else None for each in found]


def at_once(number: int, **changed: Any) -> list[UpcomingRun]:
    return [upcoming(f"run-{each}", due_at=NOW, **changed) for each in range(number)]


def test_a_run_of_a_healthy_pool_starts_when_it_is_due() -> None:
    due = upcoming()
    assert one(due) == Expectation(due, Standing.WILL_START, "", due.due_at)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (state(of={"is_paused": True}), "the work pool is paused"),
        (state(workers=()), "no worker is online"),
        (state(workers=(worker(last_heartbeat_at=ago(hours=1)),)), "no worker is online"),
        (state(of={"concurrency_limit": 0}), "the work pool's concurrency limit is 0"),
        (state(queues=(queue(is_paused=True),)), "the work queue 'default' is paused"),
        (state(queues=(queue(concurrency_limit=0),)), "the concurrency limit of work queue 'default' is 0"),
        (state(queues=()), "its work queue no longer exists"),
    ],
)
def test_what_needs_a_person_blocks_a_run_and_is_the_reason_of_a_late_one(there: PoolState, words: str) -> None:
    due, late = upcoming(), upcoming(due_at=ago(hours=1), state_name="Late")
    assert one(due, there=there) == Expectation(due, Standing.BLOCKED, words)
    assert one(late, there=there) == Expectation(late, Standing.LATE, words)


def test_a_deployments_limit_of_zero_blocks_its_runs() -> None:
    closed = deployment(pool="etl", limit=0)
    assert one(deployments=[closed]).standing is Standing.BLOCKED
    assert one(deployments=[closed]).reason == "the deployment's concurrency limit is 0"


def test_runs_of_a_paused_queue_take_nobodys_slot() -> None:
    there = state(of={"concurrency_limit": 1}, queues=(queue(), queue("closed", is_paused=True)))
    closed = upcoming("a", queue_id="id-etl-closed", due_at=NOW)
    free = upcoming("b", due_at=coming(seconds=1))
    assert [each.standing for each in expect(demand(closed, free, there=there))] == ["blocked", "will-start"]


def test_two_slots_take_runs_of_a_minute_two_by_two() -> None:
    found = expect(demand(*at_once(5), there=state(of={"concurrency_limit": 2})))
    minute = timedelta(minutes=1)
    assert starts(found) == [0 * minute, 0 * minute, minute, minute, 2 * minute]
    assert [each.standing for each in found] == ["will-start"] * 2 + ["will-wait"] * 3
    assert found[-1].reason == "waits 2 min for a slot of the work pool (limit 2)"


def test_whoever_holds_a_slot_now_gives_it_back_when_runs_of_its_kind_usually_end() -> None:
    holder = run(deployment_id=NIGHTLY, since=ago(seconds=40))
    found = expect(demand(*at_once(1), there=state(active=(holder,), of={"concurrency_limit": 1})))
    assert starts(found) == [timedelta(seconds=20)]


def test_once_a_holder_takes_longer_than_usual_the_slower_ones_tell() -> None:
    there = state(active=(run(deployment_id=NIGHTLY, since=ago(seconds=70)),), of={"concurrency_limit": 1})
    found = expect(demand(*at_once(1), there=there, took={"flow/nightly": [60, 60, 60, 100]}))
    assert starts(found) == [timedelta(seconds=30)]


def test_nobody_knows_when_a_holder_ends_that_takes_longer_than_any() -> None:
    there = state(active=(run(deployment_id=NIGHTLY, since=ago(hours=5)),), of={"concurrency_limit": 1})
    (found,) = expect(demand(*at_once(1), there=there))
    assert found.expected_start_at is None
    assert "what runs now takes longer than it used to" in found.reason


def test_a_slot_that_is_held_for_good_blocks_who_needs_it_and_its_holder_is_named() -> None:
    there = state(active=(zombie(),), of={"concurrency_limit": 1})
    found = one(there=there)
    assert (found.standing, found.expected_start_at) == (Standing.BLOCKED, None)
    assert "all 1 slots of the work pool are taken by lost (Pending since" in found.reason
    assert "without sign of life" in found.reason
    late = one(upcoming(due_at=ago(hours=1)), there=there)
    assert late.standing is Standing.LATE
    assert "lost" in late.reason


def test_beside_a_slot_that_is_held_for_good_the_others_go_round() -> None:
    found = expect(demand(*at_once(2), there=state(active=(zombie(),), of={"concurrency_limit": 2})))
    assert starts(found) == [timedelta(0), timedelta(minutes=1)]


def test_a_late_run_with_nothing_in_its_way_is_late_and_expected_now() -> None:
    found = one(upcoming(due_at=ago(minutes=3)))
    assert found.standing is Standing.LATE
    assert found.reason == "nothing is in its way any more"
    assert found.expected_start_at == NOW


def test_a_late_run_that_waits_says_who_holds_the_slots_and_until_when() -> None:
    holder = run("busy-bee", deployment_id=NIGHTLY, since=NOW)
    found = one(upcoming(due_at=ago(minutes=3)), there=state(active=(holder,), of={"concurrency_limit": 1}))
    assert found.standing is Standing.LATE
    assert "all 1 slots of the work pool are taken by busy-bee (Running)" in found.reason
    assert found.expected_start_at == NOW + timedelta(minutes=1)


@pytest.mark.parametrize(("seconds", "standing"), [(14, Standing.WILL_START), (16, Standing.LATE)])
def test_a_run_is_late_when_prefect_would_call_it_so(seconds: int, standing: Standing) -> None:
    assert one(upcoming(due_at=ago(seconds=seconds))).standing is standing


def test_a_run_that_prefect_calls_late_is_late_whatever_the_clocks_say() -> None:
    assert one(upcoming(due_at=coming(seconds=1), state_name="Late")).standing is Standing.LATE


def test_the_more_urgent_queue_goes_first() -> None:
    there = state(of={"concurrency_limit": 1}, queues=(queue(priority=2), queue("urgent", priority=1)))
    usual = [upcoming("a", due_at=NOW), upcoming("b", due_at=NOW)]
    urgent = upcoming("c", due_at=coming(seconds=5), queue_id="id-etl-urgent")
    minute = timedelta(minutes=1)
    assert starts(expect(demand(*usual, urgent, there=there))) == [0 * minute, 2 * minute, minute]


def test_a_queues_and_a_deployments_limit_are_waited_for_by_name() -> None:
    narrow = state(queues=(queue(concurrency_limit=1),))
    assert "for a slot of work queue 'default' (limit 1)" in expect(demand(*at_once(2), there=narrow))[1].reason
    limited = deployment(pool="etl", limit=1)
    found = expect(demand(*at_once(2), deployments=[limited]))[1]
    assert found.reason == "waits 1 min for its deployment's concurrency limit of 1"
    assert found.standing is Standing.WILL_WAIT


def test_a_deployment_that_cancels_what_finds_its_limit_reached_blocks_it() -> None:
    cancels = deployment(pool="etl", limit=1, cancels=True)
    first, second = expect(demand(*at_once(2), deployments=[cancels]))
    assert (first.standing, second.standing) == (Standing.WILL_START, Standing.BLOCKED)
    assert second.reason == "will be cancelled: its deployment's concurrency limit of 1 is reached then"


def test_where_lengths_are_unknown_no_start_is_made_up() -> None:
    there = state(of={"concurrency_limit": 1})
    first, second = expect(demand(*at_once(2), there=there, took={}))
    assert first == Expectation(first.run, Standing.WILL_START, "", NOW)
    assert second.expected_start_at is None
    assert "no past run tells how long flow/nightly takes" in second.reason


def test_unknown_lengths_do_not_matter_without_a_limit() -> None:
    found = expect(demand(*at_once(3), there=state(of={"concurrency_limit": None}), took={}))
    assert starts(found) == [timedelta(0)] * 3


@st.composite
def demands(draw: st.DrawFn) -> PoolDemand:
    """A pool that may be closed in any way, with limits everywhere, and runs of known and unknown lengths."""
    queues = (
        queue(priority=draw(st.integers(1, 2)), concurrency_limit=draw(st.none() | st.integers(0, 2))),
        queue("other", is_paused=draw(st.booleans()), concurrency_limit=draw(st.none() | st.integers(0, 2))),
    )
    there = state(
        of={"is_paused": draw(st.booleans()), "concurrency_limit": draw(st.none() | st.integers(0, 3))},
        queues=queues,
        workers=(worker(),) * draw(st.integers(0, 1)),
        active=tuple(draw(st.lists(holders(), max_size=3, unique_by=lambda run: run.id))),
    )
    limited: list[DeploymentFacts] = [
        deployment(pool="etl", limit=draw(st.none() | st.integers(0, 2)), cancels=draw(st.booleans())),
        deployment("flow/unknown", pool="etl", limit=draw(st.none() | st.integers(0, 2))),
    ]
    runs = draw(st.lists(upcoming_runs(), max_size=8))
    return demand(*sorted(runs, key=lambda run: run.due_at), there=there, deployments=limited)


def holders() -> st.SearchStrategy[RunFacts]:
    return st.builds(
        lambda number, seconds, of: run(f"holder-{number}", since=ago(seconds=seconds), deployment_id=of),
        st.integers(0, 9),
        st.integers(0, 4000),
        st.sampled_from([NIGHTLY, "id-flow/unknown"]),
    )


def upcoming_runs() -> st.SearchStrategy[UpcomingRun]:
    return st.builds(
        lambda seconds, of, line: upcoming(due_at=coming(seconds=seconds), deployment_id=of, queue_id=line),
        st.integers(-100, 300),
        st.sampled_from([NIGHTLY, "id-flow/unknown"]),
        st.sampled_from(["id-etl-default", "id-etl-other", "id-etl-gone"]),
    )


@given(demands())
def test_every_run_gets_one_answer_and_whatever_does_not_simply_start_has_a_reason(asked: PoolDemand) -> None:
    found = expect(asked)
    assert [each.run for each in found] == list(asked.runs)
    for each in found:
        assert each.reason or each.standing is Standing.WILL_START
        assert each.standing is not Standing.BLOCKED or each.expected_start_at is None
        if each.expected_start_at is not None:
            assert each.expected_start_at >= max(each.run.due_at, NOW)


@given(demands(), st.sampled_from(LENGTHS), st.sampled_from(LENGTHS))
def test_a_start_that_is_told_does_not_hang_on_lengths_nobody_knows(
    asked: PoolDemand, length: timedelta, other: timedelta
) -> None:
    """Whatever the unknown lengths turn out to be: where one line waits for one limit, a start that was told holds."""
    queues = tuple(replace(each, concurrency_limit=None, is_paused=False) for each in asked.state.queues[:1])
    simple = replace(
        asked,
        state=replace(asked.state, queues=queues, active=()),
        runs=[replace(each, queue_id=queues[0].id) for each in asked.runs],
        deployments={key: replace(each, limit=None) for key, each in asked.deployments.items()},
    )
    told = expect(simple)
    for seconds in (length, other):
        known = replace(simple.durations[NIGHTLY], median=seconds, high=seconds)
        for before, after in zip(
            told, expect(replace(simple, durations={**simple.durations, "id-flow/unknown": known})), strict=True
        ):
            if before.expected_start_at is not None:
                assert after.expected_start_at is not None
                assert abs(after.expected_start_at - before.expected_start_at) <= timedelta(seconds=1)

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.demand import PoolDemand
from flows.policy.sizing import recommend, wait
from flows.policy.slots import simulate
from flows.policy.upcoming import UpcomingRun
from tests.builders import NOW, coming, demand, deployment, queue, state, upcoming, zombie

MINUTE = timedelta(minutes=1)


def at_once(number: int) -> list[UpcomingRun]:
    return [upcoming(f"run-{each}", due_at=NOW) for each in range(number)]


def longest(asked: PoolDemand, limit: int) -> timedelta:
    wants = asked.wants(asked.runs, high=True)
    starts = simulate(wants, asked.held(high=True), replace(asked.limits, pool=limit))
    return timedelta(seconds=max(map(wait, wants, starts)))


def test_no_run_due_needs_no_limit() -> None:
    assert recommend(demand(), MINUTE) is None


def test_runs_that_may_not_wait_need_a_slot_each() -> None:
    found = recommend(demand(*at_once(6), there=state(of={"concurrency_limit": 2})), timedelta(0))
    assert found is not None
    assert (found.limit, found.extra, found.longest_wait, found.is_lower_bound) == (6, 4, timedelta(0), False)


def test_runs_that_may_wait_for_one_round_need_half_the_slots() -> None:
    found = recommend(demand(*at_once(6), there=state(of={"concurrency_limit": 5})), MINUTE)
    assert found is not None
    assert (found.limit, found.extra, found.longest_wait) == (3, -2, MINUTE)


def test_a_pool_without_a_limit_gets_the_one_its_peak_suggests() -> None:
    found = recommend(demand(*at_once(4), there=state(of={"concurrency_limit": None})), timedelta(0))
    assert found is not None
    assert (found.limit, found.extra) == (4, None)


def test_it_reckons_with_the_slower_runs() -> None:
    runs = [upcoming("a", due_at=NOW), upcoming("b", due_at=coming(seconds=60))]
    usual = recommend(demand(*runs, took={"flow/nightly": [50] * 20}), timedelta(0))
    slow = recommend(demand(*runs, took={"flow/nightly": [50] * 17 + [90] * 3}), timedelta(0))
    assert usual is not None
    assert slow is not None
    assert (usual.limit, slow.limit) == (1, 2)


def test_where_lengths_are_unknown_it_is_a_lower_bound() -> None:
    found = recommend(demand(*at_once(2), took={}), MINUTE)
    assert found is not None
    assert found.is_lower_bound


def test_waiting_that_a_queue_or_a_deployment_imposes_is_not_made_up_for() -> None:
    narrow = recommend(demand(*at_once(6), there=state(queues=(queue(concurrency_limit=1),))), timedelta(0))
    limited = recommend(demand(*at_once(6), deployments=[deployment(pool="etl", limit=2)]), timedelta(0))
    assert narrow is not None
    assert limited is not None
    assert (narrow.limit, limited.limit) == (1, 2)


def test_a_slot_that_is_held_for_good_is_not_made_up_for() -> None:
    there = state(active=(zombie("a"), zombie("b")), of={"concurrency_limit": 5})
    found = recommend(demand(*at_once(2), there=there), timedelta(0))
    assert found is not None
    assert found.limit == 2


def test_a_paused_pool_is_judged_as_if_it_ran() -> None:
    there = state(of={"is_paused": True, "concurrency_limit": 1}, workers=())
    found = recommend(demand(*at_once(3), there=there), timedelta(0))
    assert found is not None
    assert found.limit == 3


@given(
    st.lists(st.integers(-60, 600), min_size=1, max_size=12),
    st.integers(1, 300),
    st.integers(0, 10),
    st.none() | st.integers(0, 4),
)
def test_it_is_the_smallest_limit_at_which_nobody_waits_longer(
    due: list[int], seconds: int, minutes: int, limit: int | None
) -> None:
    runs = sorted((upcoming(due_at=coming(seconds=each)) for each in due), key=lambda run: run.due_at)
    asked = demand(*runs, there=state(of={"concurrency_limit": limit}), took={"flow/nightly": [seconds]})
    acceptable = minutes * MINUTE
    found = recommend(asked, acceptable)
    assert found is not None
    fits = [each for each in range(1, len(due) + 1) if longest(asked, each) <= acceptable]
    assert found.limit == fits[0]
    assert found.longest_wait == longest(asked, found.limit) <= acceptable

"""The limit that would do, where queues and deployments have limits of their own and some slots are taken already."""

from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.demand import PoolDemand
from flows.policy.sizing import Sizing, recommend
from flows.policy.slots import Limits, Start, Want
from tests.builders import NOW, ago, coming, demand, deployment, queue, run, state, upcoming, zombie
from tests.policy.test_slots import by_stepping

QUEUES = ("urgent", "slow")
DEPLOYMENTS = ("flow/a", "flow/b")
LIMITS = st.none() | st.integers(0, 3)
NO_TIME = timedelta(0)


def sized(asked: PoolDemand, acceptable: timedelta = NO_TIME) -> Sizing:
    found = recommend(asked, acceptable)
    assert found is not None
    return found


@st.composite
def demands(draw: st.DrawFn) -> PoolDemand:
    """Runs of two deployments, each of which has its queue, with any limits that make runs wait."""
    queue_of = {name: draw(st.sampled_from(QUEUES)) for name in DEPLOYMENTS}
    asked = draw(st.lists(st.tuples(st.integers(-20, 60), st.sampled_from(DEPLOYMENTS)), min_size=1, max_size=8))
    runs = [
        upcoming(
            f"run-{number}", due_at=coming(seconds=due), deployment_id=f"id-{of}", queue_id=f"id-etl-{queue_of[of]}"
        )
        for number, (due, of) in enumerate(sorted(asked))
    ]
    holders = draw(st.lists(st.tuples(st.sampled_from(DEPLOYMENTS), st.integers(0, 9)), max_size=3))
    there = state(
        of={"concurrency_limit": draw(LIMITS)},
        queues=tuple(queue(name, priority=at, concurrency_limit=draw(LIMITS)) for at, name in enumerate(QUEUES)),
        active=tuple(
            run(
                f"holder-{number}",
                deployment_id=f"id-{of}",
                since=ago(seconds=so_far),
                queue_id=f"id-etl-{queue_of[of]}",
            )
            for number, (of, so_far) in enumerate(holders)
        ),
    )
    return demand(
        *runs,
        there=there,
        took={name: [draw(st.integers(10, 40))] for name in DEPLOYMENTS},
        deployments=[deployment(name, limit=draw(LIMITS)) for name in DEPLOYMENTS],
    )


def wait(want: Want, start: Start) -> float:
    return 0 if start.at is None else start.at - max(0.0, want.at)


def waits(asked: PoolDemand, limit: int | None) -> list[float]:
    """How long each run waits at a limit of the pool, found out second by second."""
    wants = asked.wants(asked.runs, high=True)
    limits = Limits(limit, asked.limits.queues, asked.limits.deployments)
    starts = by_stepping(wants, asked.held(high=True), limits)
    return [wait(want, start) for want, start in zip(wants, starts, strict=True)]


@given(demands(), st.integers(0, 60))
def test_at_that_limit_nobody_waits_longer_than_acceptable_or_than_others_impose_and_at_one_less_somebody_does(
    asked: PoolDemand, seconds: int
) -> None:
    found = sized(asked, timedelta(seconds=seconds))
    bounds = [max(seconds, imposed) for imposed in waits(asked, None)]
    at_limit = waits(asked, found.limit)
    assert all(waited <= bound for waited, bound in zip(at_limit, bounds, strict=True))
    assert found.longest_wait == timedelta(seconds=max(at_limit))
    if found.limit > 1:
        at_one_less = waits(asked, found.limit - 1)
        assert any(waited > bound for waited, bound in zip(at_one_less, bounds, strict=True))


@given(demands(), LIMITS)
def test_what_the_limit_is_now_changes_only_how_far_it_is_from_what_would_do(
    asked: PoolDemand, current: int | None
) -> None:
    pool = replace(asked.state.pool, concurrency_limit=current)
    found = sized(replace(asked, state=replace(asked.state, pool=pool)))
    assert replace(found, extra=None) == replace(sized(asked), extra=None)
    assert found.extra == (None if current is None else found.limit - current)


@given(demands(), st.integers(1, 3))
def test_slots_that_are_held_for_good_are_not_made_up_for(asked: PoolDemand, lost: int) -> None:
    active = (*asked.state.active, *(zombie(f"lost-{number}", queue_id="id-etl-slow") for number in range(lost)))
    among = replace(asked, state=replace(asked.state, active=active))
    assert any(each.seconds == inf for each in among.held())
    assert recommend(among, NO_TIME) == recommend(asked, NO_TIME)


@given(demands(), st.integers(0, 60), st.integers(0, 60))
def test_whoever_accepts_more_waiting_at_a_queue_without_limits_needs_no_more_slots(
    asked: PoolDemand, less: int, more: int
) -> None:
    one_line = replace(
        asked,
        state=replace(asked.state, queues=(queue("slow"),), active=()),
        runs=[replace(each, queue_id="id-etl-slow") for each in asked.runs],
        deployments={},
    )
    patient, impatient = max(less, more), min(less, more)
    assert sized(one_line, timedelta(seconds=patient)).limit <= sized(one_line, timedelta(seconds=impatient)).limit


def test_who_holds_a_slot_and_will_give_it_back_is_reckoned_with() -> None:
    holder = run(deployment_id="id-flow/nightly", since=NOW)
    asked = demand(upcoming(due_at=coming(seconds=10)), there=state(active=(holder,)))
    assert (sized(asked).limit, sized(asked, timedelta(minutes=1)).limit) == (2, 1)


def test_what_starts_in_the_very_second_in_which_another_ends_needs_no_slot_more() -> None:
    runs = [upcoming(f"run-{minute}", due_at=coming(minutes=minute)) for minute in range(5)]
    assert sized(demand(*runs)).limit == 1


@pytest.mark.parametrize(("names", "is_lower_bound"), [((), False), (("flow/new",), True)])
def test_it_is_a_lower_bound_as_soon_as_one_length_is_unknown(names: tuple[str, ...], is_lower_bound: bool) -> None:
    runs = [upcoming(), *(upcoming(name, deployment_id=f"id-{name}") for name in names)]
    assert sized(demand(*runs)).is_lower_bound is is_lower_bound

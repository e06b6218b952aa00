"""What is told of runs holds in pools of any kind: checked against the pool's own slots and against what comes true."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.demand import PoolDemand
from flows.policy.durations import Duration
from flows.policy.fleet import PoolState
from flows.policy.forecast import Expectation, Standing, expect
from flows.policy.obstacles import closed_doors
from flows.policy.slots import simulate
from flows.policy.upcoming import UpcomingRun
from tests.builders import NOW, ago, coming, demand, deployment, queue, run, state, upcoming, worker

QUEUES = ("a", "b")
KNOWN = {"flow/short": [30.0], "flow/long": [200.0] * 9 + [400.0]}
UNKNOWN = ("flow/new", "flow/odd")
LIMITS = st.none() | st.integers(0, 3)


@st.composite
def pools(draw: st.DrawFn, deployments: Sequence[str]) -> PoolState:
    """A pool in any condition that somebody may have to change before its runs start."""
    queues = [
        queue(name, is_paused=draw(st.integers(0, 5)) == 0, priority=draw(st.integers(1, 3)))
        for name in draw(st.lists(st.sampled_from(QUEUES), unique=True))
    ]
    holders = draw(st.lists(st.tuples(st.sampled_from(deployments), st.integers(0, 700)), max_size=4))
    return state(
        of={"is_paused": draw(st.integers(0, 5)) == 0, "concurrency_limit": draw(LIMITS)},
        queues=tuple(replace(each, concurrency_limit=draw(LIMITS)) for each in queues),
        workers=(worker(),) if draw(st.integers(0, 5)) else (),
        active=tuple(
            run(
                f"holder-{number}",
                deployment_id=f"id-{of}",
                since=ago(seconds=so_far),
                queue_id=f"id-etl-{draw(st.sampled_from(QUEUES))}",
                **draw(st.sampled_from([{}, {"state_type": "PENDING", "state_name": "Pending"}])),
            )
            for number, (of, so_far) in enumerate(holders)
        ),
    )


@st.composite
def demands(draw: st.DrawFn, deployments: Sequence[str] = (*KNOWN, *UNKNOWN)) -> PoolDemand:
    """Runs of these deployments, each of which has one queue, on a pool in any condition."""
    queue_of = {name: draw(st.sampled_from(QUEUES)) for name in deployments}
    seconds = st.integers(-100, 300)
    asked = draw(st.lists(st.tuples(seconds, st.sampled_from(deployments), st.booleans()), max_size=8))
    runs = [
        upcoming(
            f"run-{number}",
            due_at=coming(seconds=due),
            deployment_id=f"id-{of}",
            queue_id=f"id-etl-{queue_of[of]}",
            state_name="Late" if is_late and due < 0 else "Scheduled",
        )
        for number, (due, of, is_late) in enumerate(sorted(asked))
    ]
    limited = [deployment(name, limit=draw(LIMITS), cancels=draw(st.booleans())) for name in deployments]
    return demand(*runs, there=draw(pools(deployments)), took=KNOWN, deployments=limited)


@st.composite
def one_line(draw: st.DrawFn) -> PoolDemand:
    """A pool with one queue before one limit, and nothing else in the way."""
    asked = draw(demands())
    only = queue(QUEUES[0])
    free = replace(asked.state.pool, is_paused=False, concurrency_limit=draw(st.none() | st.integers(1, 3)))
    return replace(
        asked,
        state=replace(asked.state, pool=free, queues=(only,), workers=(worker(),)),
        runs=[replace(each, queue_id=only.id) for each in asked.runs],
        deployments={key: replace(each, limit=None) for key, each in asked.deployments.items()},
    )


def asks_at(each: UpcomingRun) -> datetime:
    return max(each.due_at, NOW)


def doors(asked: PoolDemand, each: UpcomingRun) -> str:
    return "; ".join(closed_doors(each, asked.state, asked.deployments, NOW))


@given(demands())
def test_a_run_is_late_exactly_where_prefect_calls_it_so_or_soon_would(asked: PoolDemand) -> None:
    found = expect(asked)
    assert [each.run for each in found] == list(asked.runs)
    for each in found:
        is_late = each.run.state_name == "Late" or each.run.due_at < ago(seconds=15)
        assert (each.standing is Standing.LATE) is is_late


@given(demands())
def test_where_a_person_has_to_change_something_that_is_the_whole_answer(asked: PoolDemand) -> None:
    for each in expect(asked):
        if words := doors(asked, each.run):
            assert each.standing in (Standing.BLOCKED, Standing.LATE)
            assert (each.reason, each.expected_start_at) == (words, None)


@given(demands(tuple(KNOWN)))
def test_who_starts_in_time_needs_no_words_and_who_does_not_has_some(asked: PoolDemand) -> None:
    for each in expect(asked):
        assert each.reason or (each.standing is Standing.WILL_START and each.expected_start_at is not None)
        if each.standing is Standing.WILL_START and not each.reason:
            assert each.expected_start_at == asks_at(each.run)
        if each.standing is Standing.WILL_WAIT and each.expected_start_at is not None:
            assert each.expected_start_at > asks_at(each.run)
            assert "wait" in each.reason
        if each.standing is Standing.BLOCKED:
            assert each.expected_start_at is None


def lengths(asked: PoolDemand) -> dict[str, timedelta]:
    return {key: each.median for key, each in asked.durations.items()}


@given(demands(tuple(KNOWN)))
def test_the_starts_that_are_told_never_use_more_slots_than_there_are(asked: PoolDemand) -> None:
    """Among the runs themselves: those that hold slots now are reckoned with by the simulation."""
    took = lengths(asked)
    spans = [
        (each.run, each.expected_start_at, each.expected_start_at + took[each.run.deployment_id or ""])
        for each in expect(asked)
        if each.expected_start_at is not None
    ]
    queues = {each.id: each.concurrency_limit for each in asked.state.queues}
    for started, at, _ in spans:
        there = [each for each, begin, end in spans if begin <= at < end]
        mine = asked.deployments[started.deployment_id or ""].limit
        limits: list[tuple[int | None, Any]] = [
            (asked.state.pool.concurrency_limit, there),
            (queues[started.queue_id or ""], [each for each in there if each.queue_id == started.queue_id]),
            (mine, [each for each in there if each.deployment_id == started.deployment_id]),
        ]
        assert all(limit is None or len(used) <= limit for limit, used in limits)


def outcomes(asked: PoolDemand, unknown: float) -> list[float]:
    starts = simulate(asked.wants(asked.runs, unknown=unknown), asked.held(unknown=unknown), asked.limits)
    return [inf if each.at is None else each.at for each in starts]


@given(one_line())
def test_a_start_is_told_exactly_where_it_does_not_matter_how_long_the_unknown_take(asked: PoolDemand) -> None:
    at_best, at_worst = outcomes(asked, 1.0), outcomes(asked, inf)
    for each, best, worst in zip(expect(asked), at_best, at_worst, strict=True):
        assert (each.expected_start_at is not None) is (best < inf and worst - best < 0.5)


def comes_true(asked: PoolDemand, seconds: Sequence[int]) -> tuple[Expectation, ...]:
    """What would have been told if one had known what the unknown take."""
    took = {f"id-{of}": timedelta(seconds=each) for of, each in zip(UNKNOWN, seconds, strict=True)}
    known = {key: Duration(each, each, 1) for key, each in took.items()}
    return expect(replace(asked, durations={**asked.durations, **known}))


@given(one_line(), st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_a_start_that_is_told_comes_true_whatever_the_unknown_take(asked: PoolDemand, seconds: tuple[int, int]) -> None:
    for told, true in zip(expect(asked), comes_true(asked, seconds), strict=True):
        if told.expected_start_at is not None:
            assert true.expected_start_at is not None
            assert abs(true.expected_start_at - told.expected_start_at) < timedelta(seconds=0.5)


@given(one_line())
def test_without_a_limit_every_run_starts_when_it_is_due_whatever_is_unknown(asked: PoolDemand) -> None:
    pool = replace(asked.state.pool, concurrency_limit=None)
    for each in expect(replace(asked, state=replace(asked.state, pool=pool))):
        assert each.expected_start_at == asks_at(each.run)
        assert each.standing in (Standing.WILL_START, Standing.LATE)

from datetime import timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.demand import A_MOMENT, PoolDemand
from flows.policy.facts import RunFacts
from flows.policy.slots import Want
from tests.builders import NOW, ago, coming, demand, deployment, queue, run, state, upcoming, zombie

NIGHTLY = "id-flow/nightly"
# A median of a minute; nine of ten took no longer than a hundred seconds.
MIXED = {"flow/nightly": [60.0] * 8 + [100.0] * 2}


def still(holder: RunFacts, *, high: bool = False, unknown: float = A_MOMENT) -> float:
    """For how many more seconds this run is expected to hold its slot."""
    (held,) = demand(there=state(active=(holder,)), took=MIXED).held(high=high, unknown=unknown)
    return held.seconds


def wanted(asked: PoolDemand, *, high: bool = False, unknown: float = A_MOMENT) -> list[Want]:
    return asked.wants(asked.runs, high=high, unknown=unknown)


def test_a_run_asks_for_a_slot_of_its_queue_and_deployment_for_as_long_as_such_runs_took() -> None:
    asked = demand(upcoming(due_at=coming(minutes=2)), took=MIXED)
    assert wanted(asked) == [Want(120, 60, "id-etl-default", NIGHTLY)]
    assert wanted(asked, high=True) == [Want(120, 100, "id-etl-default", NIGHTLY)]


def test_a_late_run_asked_before_now() -> None:
    assert wanted(demand(upcoming(due_at=ago(minutes=2))))[0].at == -120


def test_a_run_of_unknown_length_asks_for_a_moment_or_for_what_the_caller_says() -> None:
    asked = demand(upcoming(), took={})
    assert wanted(asked)[0].seconds == A_MOMENT
    assert wanted(asked, high=True, unknown=inf)[0].seconds == inf


def test_what_took_no_time_asks_for_a_moment() -> None:
    assert wanted(demand(upcoming(), took={"flow/nightly": [0]}))[0].seconds == A_MOMENT


def test_a_run_without_queue_or_deployment_asks_as_well() -> None:
    lost = upcoming(queue_id=None, deployment_id=None)
    assert wanted(demand(lost), unknown=7) == [Want(600, 7, "", "")]


@pytest.mark.parametrize(
    ("so_far", "usually", "high"), [(0, 60, 100), (40, 20, 60), (59.5, A_MOMENT, 40.5), (60, 40, 40), (99, 1, 1)]
)
def test_a_holder_is_expected_to_take_as_long_as_usual_then_as_long_as_the_slower_ones(
    so_far: float, usually: float, high: float
) -> None:
    holder = run(deployment_id=NIGHTLY, since=ago(seconds=so_far))
    assert still(holder) == usually
    assert still(holder, high=True) == high


@pytest.mark.parametrize(
    "holder",
    [
        run(deployment_id=NIGHTLY, since=ago(seconds=100)),
        run(deployment_id=NIGHTLY, since=ago(days=9)),
        run(deployment_id="id-other"),
        run(deployment_id=None),
    ],
)
def test_nobody_knows_how_long_a_holder_stays_that_took_longer_or_of_which_nothing_is_known(holder: RunFacts) -> None:
    assert still(holder, unknown=inf) == inf
    assert still(holder, unknown=7) == 7


def test_a_holder_without_sign_of_life_stays_for_good_whatever_is_known() -> None:
    assert still(zombie(deployment_id=NIGHTLY), unknown=7) == inf
    assert still(zombie(deployment_id=NIGHTLY, since=NOW), unknown=7) == 60


def test_a_holder_takes_the_slots_of_its_queue_and_deployment() -> None:
    (held,) = demand(there=state(active=(run(deployment_id=NIGHTLY, since=NOW),))).held()
    assert held == Want(0, 60, "id-etl-default", NIGHTLY)


@given(st.timedeltas(timedelta(), timedelta(seconds=500)), st.booleans())
def test_nothing_is_held_for_less_than_a_moment_or_for_longer_than_such_runs_took(
    so_far: timedelta, high: bool
) -> None:
    left = still(run(deployment_id=NIGHTLY, since=NOW - so_far), high=high)
    assert A_MOMENT <= left <= max(A_MOMENT, 100 - so_far.total_seconds())


def test_queues_stand_in_the_order_of_their_priority_then_of_their_names() -> None:
    queues = (queue("b", priority=2, concurrency_limit=4), queue("c"), queue("a", priority=2))
    limits = demand(there=state(queues=queues, of={"concurrency_limit": 3})).limits
    assert limits.pool == 3
    assert list(limits.queues.items()) == [("id-etl-c", None), ("id-etl-a", None), ("id-etl-b", 4)]


def test_only_limits_of_deployments_with_runs_to_come_apply() -> None:
    others = [
        deployment(pool="etl", limit=2, cancels=True),
        deployment("flow/idle", limit=1, cancels=True),
        deployment("flow/free", cancels=True),
    ]
    asked = demand(upcoming(), upcoming("b", deployment_id="id-flow/free"), deployments=others)
    assert asked.limits.deployments == {NIGHTLY: 2}
    assert asked.limits.cancels == {NIGHTLY}


def test_a_deployments_limit_of_zero_is_one() -> None:
    assert demand(upcoming(), deployments=[deployment(limit=0)]).limits.deployments == {NIGHTLY: 0}


def test_deployments_of_unknown_length_are_named_once_in_the_order_of_their_runs() -> None:
    runs = [upcoming("a", deployment_id="id-flow/b"), upcoming("b"), upcoming("c", deployment_id="id-flow/a")]
    others = [deployment("flow/a"), deployment("flow/b")]
    assert demand(*runs, *runs, deployments=others).unknown == ("flow/b", "flow/a")
    assert demand(upcoming(), deployments=others).unknown == ()
    assert demand(upcoming(deployment_id="id-gone")).unknown == ("?",)


def test_past_runs_are_counted_once_for_each_deployment_that_has_runs_to_come() -> None:
    took = {"flow/nightly": [1.0] * 7, "flow/idle": [1.0] * 5}
    assert demand(upcoming("a"), upcoming("b"), took=took).past_runs == 7
    assert demand(took=took).past_runs == 0

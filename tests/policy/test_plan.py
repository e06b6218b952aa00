import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.policy.plan import SHARE_JUDGED_FROM, ActionLimit, Kind, Plan, Target, UnsafePlan, Verb, Verdict

acting = st.sampled_from([verb for verb in Verb if verb is not Verb.LEAVE])
shared_kinds = st.sampled_from([kind for kind in Kind if kind is not Kind.RUN])
shares = st.integers(0, 100).map(lambda percent: percent / 100)


def plan(actions: int, kind: Kind = Kind.POOL, *, left: int = 0, verb: Verb = Verb.PAUSE) -> Plan:
    verbs = [verb] * actions + [Verb.LEAVE] * left
    verdicts = (Verdict(Target(kind, f"t{i}", str(i)), each, "because") for i, each in enumerate(verbs))
    return Plan("pool-auto-pause", tuple(verdicts))


def is_allowed(limit: ActionLimit, actions: Plan, population: dict[Kind, int]) -> bool:
    try:
        limit.check(actions, population)
    except UnsafePlan:
        return False
    return True


@given(acting, st.integers(0, 5), st.integers(0, 5))
def test_every_verdict_but_leave_is_an_action(verb: Verb, actions: int, left: int) -> None:
    assert len(plan(actions, verb=verb, left=left).actions) == actions


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from(Kind))
def test_exactly_the_most_actions_are_allowed_and_not_one_more(actions: int, most: int, kind: Kind) -> None:
    limit = ActionLimit(max_actions=most, max_share=1)
    assert is_allowed(limit, plan(actions, kind, left=100), {kind: 1000}) is (actions <= most)


@pytest.mark.parametrize("there", [SHARE_JUDGED_FROM, 10, 50, 100])
def test_exactly_the_largest_share_is_allowed_and_not_one_more(there: int) -> None:
    for percent in range(101):
        limit, most = ActionLimit(max_actions=1000, max_share=percent / 100), there * percent // 100
        assert is_allowed(limit, plan(most), {Kind.POOL: there}), f"{most} of {there} are {percent} %"
        assert not is_allowed(limit, plan(most + 1), {Kind.POOL: there}), f"{most + 1} of {there} are over {percent} %"


@given(shared_kinds, st.integers(0, SHARE_JUDGED_FROM - 1), st.integers(0, 5), shares)
def test_a_share_of_a_few_says_nothing(kind: Kind, there: int, actions: int, share: float) -> None:
    assert is_allowed(ActionLimit(max_share=share), plan(actions, kind), {kind: there})


def test_a_share_is_judged_from_five_up() -> None:
    limit = ActionLimit(max_share=0.3)
    assert is_allowed(limit, plan(2), {Kind.POOL: 4})
    assert not is_allowed(limit, plan(2), {Kind.POOL: 5})
    assert is_allowed(limit, plan(1), {Kind.POOL: 5})


@given(st.integers(0, 50), st.integers(0, 100), shares)
def test_runs_are_limited_by_number_alone(actions: int, there: int, share: float) -> None:
    assert is_allowed(ActionLimit(max_actions=50, max_share=share), plan(actions, Kind.RUN), {Kind.RUN: there})


def test_each_kind_has_its_own_share() -> None:
    mixed = Plan("pool-cleanup", plan(3, Kind.QUEUE).verdicts + plan(3, Kind.WORKER).verdicts)
    assert is_allowed(ActionLimit(max_share=0.3), mixed, {Kind.QUEUE: 10, Kind.WORKER: 10})
    assert not is_allowed(ActionLimit(max_share=0.3), mixed, {Kind.QUEUE: 10, Kind.WORKER: 9})


@given(st.integers(0, 100), st.integers(0, 20), shares)
def test_a_plan_without_actions_is_always_allowed(left: int, most: int, share: float) -> None:
    limit = ActionLimit(max_actions=most, max_share=share)
    assert is_allowed(limit, plan(0, left=left), dict.fromkeys(Kind, left))


def test_a_refusal_says_how_many_and_which_limit() -> None:
    with pytest.raises(UnsafePlan, match=r"would change 3 things; at most 2 .*limit\.max_actions.* Nothing was done"):
        ActionLimit(max_actions=2).check(plan(3), {})
    with pytest.raises(UnsafePlan, match=r"would change 3 of 9 pools; at most a share of 0\.3 .*limit\.max_share"):
        ActionLimit().check(plan(3), {Kind.POOL: 9})


@pytest.mark.parametrize(
    "wrong", [{"max_actions": -1}, {"max_share": -0.1}, {"max_share": 1.1}, {"max_action": 5}, {"max_share": "nan"}]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ActionLimit.model_validate(wrong)


def test_numbers_that_arrive_as_text_are_accepted() -> None:
    assert ActionLimit.model_validate({"max_actions": "3", "max_share": "0.5"}) == ActionLimit(
        max_actions=3, max_share=0.5
    )

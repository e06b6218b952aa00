import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.plan import Kind, Plan, Target, Verb, Verdict
from flows.policy.protection import ProtectedTarget, Protection

PROTECTION = Protection(
    pools=frozenset({"management"}), deployment_ids=frozenset({"own-deployment"}), run_ids=frozenset({"own-run"})
)

kinds = st.sampled_from(Kind)
acting = st.sampled_from([verb for verb in Verb if verb is not Verb.LEAVE])


def plan(target: Target, verb: Verb) -> Plan:
    return Plan("pool-cleanup", (Verdict(target, verb, "why not"),))


def is_refused(target: Target, verb: Verb = Verb.DELETE) -> bool:
    try:
        PROTECTION.check(plan(target, verb))
    except ProtectedTarget:
        return True
    return False


@given(acting)
def test_the_keepers_own_pool_is_never_touched(verb: Verb) -> None:
    assert is_refused(Target(Kind.POOL, "management", "1"), verb)
    assert is_refused(Target(Kind.POOL, "management", "1", pool="management"), verb)


@given(kinds.filter(lambda kind: kind is not Kind.POOL), acting, st.text(max_size=5))
def test_nothing_in_the_keepers_own_pool_is_ever_touched(kind: Kind, verb: Verb, name: str) -> None:
    assert is_refused(Target(kind, name, "1", pool="management"), verb)


@given(acting)
def test_the_keepers_own_deployments_and_the_deciding_run_are_never_touched(verb: Verb) -> None:
    assert is_refused(Target(Kind.DEPLOYMENT, "pool-inventory/management", "own-deployment", pool="elsewhere"), verb)
    assert is_refused(Target(Kind.DEPLOYMENT, "pool-inventory/management", "own-deployment"), verb)
    assert is_refused(Target(Kind.RUN, "brave-owl", "own-run", pool="elsewhere"), verb)


@given(kinds, acting)
def test_everything_else_may_be_touched(kind: Kind, verb: Verb) -> None:
    assert not is_refused(Target(kind, "etl", "1", pool="etl"), verb)
    assert not is_refused(Target(kind, "etl", "1"), verb)


def test_a_thing_that_only_bears_a_protected_name_or_id_may_be_touched() -> None:
    assert not is_refused(Target(Kind.RUN, "management", "1", pool="etl"))
    assert not is_refused(Target(Kind.RUN, "brave-owl", "own-deployment", pool="etl"))
    assert not is_refused(Target(Kind.DEPLOYMENT, "flow/x", "own-run", pool="etl"))


@given(kinds)
def test_leaving_something_protected_alone_is_allowed(kind: Kind) -> None:
    target = Target(kind, "management", "own-run", pool="management")
    PROTECTION.check(plan(target, Verb.LEAVE))
    assert PROTECTION.reason(target) is not None


def test_one_protected_target_refuses_the_whole_plan_and_is_named() -> None:
    verdicts = (
        Verdict(Target(Kind.POOL, "etl", "1"), Verb.PAUSE, "failing"),
        Verdict(Target(Kind.POOL, "management", "2"), Verb.PAUSE, "failing"),
    )
    with pytest.raises(ProtectedTarget, match=r"wanted to pause pool 'management', but .* Nothing was done"):
        PROTECTION.check(Plan("pool-auto-pause", verdicts))

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.bad_input import BadInput
from flows.policy.cleanup.caps import BEYOND, Caps, CleanupLimit
from flows.policy.cleanup.decision import ORDER, check_kinds, rule_of
from flows.policy.cleanup.kinds import KINDS, RULE, CleanupKind, Found
from flows.policy.plan import Kind, UnsafePlan, Verb, Verdict
from tests.builders import NOW
from tests.cleanup import decide, numbered, of_rule

FEW_CAPS = Caps.model_validate({kind.replace("-", "_"): 2 for kind in KINDS})

kinds: st.SearchStrategy[CleanupKind] = st.sampled_from(KINDS)
verbs = st.sampled_from([Verb.LEAVE, Verb.LEAVE, Verb.DELETE, Verb.CANCEL])
left = st.dictionaries(st.sampled_from(["made by hand", "ended too recently"]), st.integers(1, 3))


@st.composite
def findings(draw: st.DrawFn) -> Mapping[CleanupKind, Found]:
    """What some rules found, in any order; they often look at the same things."""
    asked = draw(st.lists(kinds, unique=True, max_size=len(KINDS)))
    seen = st.lists(st.tuples(st.sampled_from("abcd"), verbs), max_size=4)
    return {kind: Found(tuple(of_rule(kind, name, verb) for name, verb in draw(seen)), draw(left)) for kind in asked}


def all_of(found: Mapping[CleanupKind, Found]) -> list[Verdict]:
    return [verdict for kind in ORDER if kind in found for verdict in found[kind].verdicts]


def is_action(verdict: Verdict) -> bool:
    return verdict.verb is not Verb.LEAVE


@given(findings())
def test_every_target_gets_exactly_one_verdict(found: Mapping[CleanupKind, Found]) -> None:
    targets = [verdict.target for verdict in decide(found).plan.verdicts]
    assert len(targets) == len(set(targets))
    assert set(targets) == {verdict.target for verdict in all_of(found)}


@given(findings())
def test_an_action_goes_before_leaving_alone_and_an_earlier_kind_before_a_later(
    found: Mapping[CleanupKind, Found],
) -> None:
    for verdict in decide(found).plan.verdicts:
        about_it = [each for each in all_of(found) if each.target == verdict.target]
        assert verdict == next((each for each in about_it if is_action(each)), about_it[0])


@given(findings())
def test_the_plan_goes_from_kind_to_kind_in_the_order_in_which_it_is_done(found: Mapping[CleanupKind, Found]) -> None:
    decision = decide(found)
    positions = [ORDER.index(kind) for kind in KINDS if kind in decision.found]
    assert sorted(positions) == [ORDER.index(kind) for kind in decision.found]
    assert set(decision.found) == set(found)
    rules = [KINDS.index(kind) for verdict in decision.plan.verdicts for kind in KINDS if kind == rule_of(verdict)]
    order = [ORDER.index(KINDS[each]) for each in rules]
    assert order == sorted(order)


@given(findings())
def test_what_each_kind_found_is_the_plan(found: Mapping[CleanupKind, Found]) -> None:
    decision = decide(found)
    assert decision.plan.verdicts == tuple(verdict for each in decision.found.values() for verdict in each.verdicts)
    for kind, each in decision.found.items():
        assert {rule_of(verdict) for verdict in each.verdicts} <= {kind}
    assert decision.plan.left == {
        f"{kind}: {reason}": count for kind, each in decision.found.items() for reason, count in each.left.items()
    }


@given(findings())
def test_of_each_kind_the_actions_come_first_and_in_the_order_of_the_rule(found: Mapping[CleanupKind, Found]) -> None:
    for kind, each in decide(found).found.items():
        acting = [verdict for verdict in each.verdicts if is_action(verdict)]
        assert acting == list(each.verdicts[: len(acting)])
        theirs = [verdict for verdict in found[kind].verdicts if verdict in acting]
        assert acting == _once(theirs)


def _once(verdicts: Iterable[Verdict]) -> list[Verdict]:
    found: list[Verdict] = []
    for verdict in verdicts:
        if verdict not in found:
            found.append(verdict)
    return found


@given(findings())
def test_no_kind_does_more_than_its_cap(found: Mapping[CleanupKind, Found]) -> None:
    decision = decide(found, caps=FEW_CAPS)
    counts = Counter(rule_of(action) for action in decision.plan.actions)
    assert all(count <= 2 for count in counts.values())
    for kind, each in found.items():
        actions = sum(is_action(verdict) for verdict in each.verdicts)
        assert decision.found[kind].left.get(BEYOND, 0) == max(0, actions - 2)


def test_the_order_is_fixed_and_has_every_kind_once() -> None:
    assert sorted(ORDER) == sorted(KINDS)
    assert ORDER == (
        "stuck-runs",
        "orphaned-runs",
        "orphaned-deployments",
        "late-runs",
        "offline-workers",
        "empty-queues",
        "idle-pools",
        "finished-runs",
    )


def test_a_later_kind_that_acts_wins_over_an_earlier_that_leaves_alone() -> None:
    earlier, later = of_rule("stuck-runs", verb=Verb.LEAVE), of_rule("finished-runs", verb=Verb.DELETE)
    decision = decide({"stuck-runs": [earlier], "finished-runs": [later]})
    assert decision.plan.verdicts == (later,)
    assert decision.found["stuck-runs"].verdicts == ()


def test_of_two_actions_the_one_of_the_earlier_kind_stays() -> None:
    earlier, later = of_rule("orphaned-runs", verb=Verb.CANCEL), of_rule("late-runs", verb=Verb.CANCEL)
    assert decide({"late-runs": [later], "orphaned-runs": [earlier]}).plan.verdicts == (earlier,)


def test_things_of_another_kind_are_not_the_same_for_their_name() -> None:
    found = [of_rule("empty-queues", kind=Kind.QUEUE)], [of_rule("idle-pools", kind=Kind.POOL)]
    assert len(decide({"empty-queues": found[0], "idle-pools": found[1]}).plan.verdicts) == 2


def test_nothing_found_is_a_plan_without_verdicts() -> None:
    decision = decide({})
    assert (decision.plan.job, decision.plan.verdicts, dict(decision.plan.left)) == ("pool-cleanup", (), {})
    assert decision.now == NOW
    decision.check()


def test_a_verdict_says_whose_rule_made_it() -> None:
    assert [rule_of(of_rule(kind)) for kind in KINDS] == list(KINDS)
    assert of_rule("late-runs").numbers[RULE] == "late-runs"


def test_an_empty_list_of_kinds_is_not_everything() -> None:
    with pytest.raises(BadInput, match=r"'kinds' is an empty list.*Nothing was done.*stuck-runs, .*, finished-runs"):
        check_kinds([])


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_is_enough(kind: CleanupKind) -> None:
    check_kinds([kind])


def is_allowed(
    found: Mapping[CleanupKind, Found | Iterable[Verdict]],
    there: Mapping[Kind, int] | None = None,
    limit: CleanupLimit | None = None,
) -> bool:
    try:
        decide(found, there=there, limit=limit).check()
    except UnsafePlan:
        return False
    return True


def workers(actions: int, leaves: int) -> Mapping[CleanupKind, Found]:
    kind: CleanupKind = "offline-workers"
    gone = numbered(kind, actions, kind=Kind.WORKER)
    return {kind: Found((*gone, *numbered(kind, leaves, Verb.LEAVE, kind=Kind.WORKER, start=actions)))}


def test_the_share_of_workers_is_one_of_those_that_were_looked_at() -> None:
    assert is_allowed(workers(3, 7))
    assert not is_allowed(workers(4, 6))
    assert is_allowed(workers(3, 7), {Kind.WORKER: 0})
    assert not is_allowed(workers(4, 6), {Kind.WORKER: 1000})


def test_those_that_were_only_counted_were_looked_at_as_well() -> None:
    found = Found(numbered("offline-workers", 4, kind=Kind.WORKER), {"online": 10})
    assert is_allowed({"offline-workers": found})
    assert not is_allowed({"offline-workers": Found(found.verdicts, {"online": 9})})


def test_the_share_of_queues_is_one_of_the_queues_that_were_looked_at() -> None:
    queues = numbered("empty-queues", 3, kind=Kind.QUEUE)
    assert is_allowed({"empty-queues": Found(queues, {"in use": 7})})
    assert not is_allowed({"empty-queues": Found(queues, {"in use": 6})})
    assert decide({"empty-queues": Found(queues, {"in use": 7})}).there[Kind.QUEUE] == 10


def test_what_a_cap_leaves_for_the_next_run_counts_among_those_that_were_looked_at() -> None:
    caps = Caps(offline_workers=3)
    decision = decide(workers(10, 0), caps=caps)
    assert decision.there[Kind.WORKER] == 10
    decision.check()


@pytest.mark.parametrize(("rule", "kind"), [("idle-pools", Kind.POOL), ("orphaned-deployments", Kind.DEPLOYMENT)])
def test_the_share_of_pools_and_deployments_is_one_of_all_there_are(rule: CleanupKind, kind: Kind) -> None:
    found = {rule: numbered(rule, 3, Verb.CHANGE, kind=kind)}
    assert is_allowed(found, {kind: 10})
    assert not is_allowed(found, {kind: 9})


def test_a_share_of_a_few_is_not_judged() -> None:
    assert is_allowed(workers(4, 0))
    assert not is_allowed(workers(5, 0))


def test_runs_are_capped_by_their_number_alone() -> None:
    found: Mapping[CleanupKind, Found | Iterable[Verdict]] = {"finished-runs": numbered("finished-runs", 60)}
    assert is_allowed(found, {Kind.RUN: 60})
    assert is_allowed(found, limit=CleanupLimit(max_actions=60))
    assert not is_allowed(found, limit=CleanupLimit(max_actions=59))


def test_the_limit_is_of_all_kinds_together_after_their_caps() -> None:
    found: Mapping[CleanupKind, Found | Iterable[Verdict]] = {
        "finished-runs": numbered("finished-runs", 3),
        "late-runs": numbered("late-runs", 3, Verb.CANCEL, start=10),
    }
    assert not is_allowed(found, limit=CleanupLimit(max_actions=5))
    assert is_allowed(found, limit=CleanupLimit(max_actions=6))
    decide(found, caps=Caps(finished_runs=2), limit=CleanupLimit(max_actions=5)).check()

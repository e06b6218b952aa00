from dataclasses import replace

import pytest

from flows.policy.auto_pause import decide_circuits
from flows.policy.circuit import Circuit, Gate, Phase
from flows.policy.failure_threshold import Tally
from flows.policy.lease import without_note
from flows.policy.override import read_overrides
from flows.policy.pause_note import with_pause
from flows.policy.plan import ActionLimit, Kind, Target, UnsafePlan, Verb
from flows.policy.recovery import Backlog
from flows.policy.watched import AutoPauseFacts, Decision, Watched, WatchedPool
from tests.builders import ago
from tests.circuits import (
    auto_pause_facts,
    circuit,
    deployment_target,
    gate,
    noted,
    pool_target,
    recovery,
    rules,
    waiting,
    watched,
    watched_pool,
)

OVER = circuit(until=ago(seconds=1))


def failing_pool(name: str) -> WatchedPool:
    return watched_pool(name, failed=10, tally=Tally(10, 10))


def failing(name: str = "flow/nightly") -> Watched:
    return watched(gate=gate(deployment_target(name), limit=None), failed=10, tally=Tally(10, 10))


def standing(name: str, phase: Phase = Phase.OPEN, *, forced: bool = False) -> WatchedPool:
    its = circuit(phase, of=pool_target(name), forced=forced)
    return WatchedPool(watched(its))


def decide(facts: AutoPauseFacts, limit: ActionLimit | None = None) -> Decision:
    return decide_circuits(facts, rules(), limit or ActionLimit())


def verbs(decision: Decision) -> dict[str, Verb]:
    return {each.target.name: each.verb for each in decision.plan.verdicts}


def test_every_pool_that_was_asked_for_has_one_verdict_in_order() -> None:
    decision = decide(auto_pause_facts(watched_pool("b"), watched_pool("a")))
    assert [each.target.name for each in decision.plan.verdicts] == ["a", "b"]
    assert not decision.plan.actions
    decision.check()


def test_pauses_a_pool_that_fails() -> None:
    assert verbs(decide(auto_pause_facts(failing_pool("etl"), watched_pool("gpu")))) == {
        "etl": Verb.PAUSE,
        "gpu": Verb.LEAVE,
    }


def test_pauses_a_deployment_that_fails_alone() -> None:
    decision = decide(auto_pause_facts(watched_pool("etl", failing(), failed=10, tally=Tally(70, 10))))
    assert verbs(decision) == {"etl": Verb.LEAVE, "flow/nightly": Verb.PAUSE}


def test_pauses_the_pool_and_not_its_deployments_where_nothing_shows_it_healthy() -> None:
    decision = decide(auto_pause_facts(watched_pool("etl", failing(), failed=10, tally=Tally(10, 10))))
    assert verbs(decision) == {"etl": Verb.PAUSE, "flow/nightly": Verb.LEAVE}


def test_a_pool_that_was_not_asked_for_has_no_verdict_but_counts_for_an_outage() -> None:
    pools = [failing_pool(name) for name in "abcde"]
    decision = decide(auto_pause_facts(*pools, asked=("a",)))
    assert verbs(decision) == {"a": Verb.PAUSE}
    assert "5 of 5 work pools fail at once" in decision.incident


def test_pools_that_stand_paused_for_their_runs_count_for_an_outage_and_forced_ones_do_not() -> None:
    there = {Kind.POOL: 5}
    for phase in (Phase.OPEN, Phase.HALF_OPEN):
        assert decide(auto_pause_facts(failing_pool("a"), standing("b", phase), there=there)).incident
    assert not decide(auto_pause_facts(failing_pool("a"), standing("b", forced=True), there=there)).incident


def test_an_outage_refuses_what_pauses_and_nothing_that_ends_a_pause() -> None:
    over = watched(circuit(of=pool_target("old"), until=ago(seconds=1)))
    decision = decide(auto_pause_facts(failing_pool("a"), failing_pool("b"), WatchedPool(over), there={Kind.POOL: 5}))
    limited = {each.target.name: decision.is_limited(each) for each in decision.plan.verdicts}
    assert limited == {"a": True, "b": True, "old": False}
    with pytest.raises(UnsafePlan, match="common outage"):
        decision.check()


def test_a_pause_that_a_person_wished_is_no_outage() -> None:
    wishes = read_overrides(dict.fromkeys("abcde", "open"))
    decision = decide(auto_pause_facts(*(watched_pool(name) for name in "abcde"), overrides=wishes))
    assert set(verbs(decision).values()) == {Verb.PAUSE}
    assert not decision.incident


def test_a_pool_that_is_tried_again_and_paused_again_is_no_new_opening() -> None:
    again = replace(standing("a", Phase.HALF_OPEN).own, probes=Tally(3, 3))
    decision = decide(auto_pause_facts(WatchedPool(again)), ActionLimit(max_actions=0))
    assert verbs(decision) == {"a": Verb.PAUSE}
    assert not decision.incident


def test_leaves_what_is_protected_alone_with_all_that_is_in_it() -> None:
    there = watched_pool("etl", failing(), failed=10, tally=Tally(10, 10))
    decision = decide(auto_pause_facts(there, protected=frozenset({"etl"}), overrides=read_overrides({"etl": "open"})))
    assert verbs(decision) == {"etl": Verb.LEAVE}


@pytest.mark.parametrize("entry", ["disabled", "Disabled", {"cooldown_minutes": -1}])
def test_leaves_a_pool_alone_that_is_switched_off_or_misread(entry: object) -> None:
    there = watched_pool("etl", failing(), failed=10, tally=Tally(70, 10))
    decision = decide(auto_pause_facts(there, failing_pool("gpu"), overrides=read_overrides({"etl": entry})))
    assert verbs(decision) == {"etl": Verb.LEAVE, "flow/nightly": Verb.LEAVE, "gpu": Verb.PAUSE}


def test_a_wish_to_open_a_pool_is_none_for_its_deployments() -> None:
    there = watched_pool("etl", failing(), failed=10, tally=Tally(70, 10))
    decision = decide(auto_pause_facts(there, overrides=read_overrides({"etl": "open"})))
    assert verbs(decision) == {"etl": Verb.PAUSE, "flow/nightly": Verb.LEAVE}


def test_a_deployment_goes_on_recovering_while_its_pool_is_paused() -> None:
    over = watched(circuit(of=deployment_target(), until=ago(seconds=1)))
    paused = watched_pool("etl", over, gate=gate(is_paused=True))
    assert verbs(decide(auto_pause_facts(paused))) == {"etl": Verb.LEAVE, "flow/nightly": Verb.RESUME}


def test_a_deployment_that_stands_paused_is_no_suspect() -> None:
    its = replace(failing(), settled=watched(circuit(of=deployment_target())).settled)
    its = replace(its, gate=noted(circuit(of=deployment_target()), limit=None))
    decision = decide(auto_pause_facts(watched_pool("etl", its, failed=10, tally=Tally(20, 10))))
    assert verbs(decision)["etl"] is Verb.PAUSE


@pytest.mark.parametrize(("policy", "dropped"), [("keep", []), ("latest", ["older"]), ("drop", ["older", "newer"])])
def test_the_backlog_is_cancelled_before_it_is_resumed(policy: Backlog, dropped: list[str]) -> None:
    runs = (waiting("newer", due_at=ago(hours=1)), waiting("older", due_at=ago(hours=2)))
    facts = auto_pause_facts(WatchedPool(watched(OVER, waiting=runs)))
    plan = decide_circuits(facts, rules(recovery=recovery(backlog=policy)), ActionLimit()).plan
    assert [each.target.name for each in plan.verdicts] == [*dropped, "etl"]
    assert [each.verb for each in plan.verdicts] == [*[Verb.CANCEL] * len(dropped), Verb.RESUME]


def test_a_pools_own_recovery_goes_before_the_usual() -> None:
    runs = (waiting(),)
    facts = auto_pause_facts(
        WatchedPool(watched(OVER, waiting=runs)),
        overrides=read_overrides({"etl": {"backlog": "drop", "probe_limit": 5}}),
    )
    decision = decide(facts)
    assert [each.verb for each in decision.plan.verdicts] == [Verb.CANCEL, Verb.RESUME]
    assert decision.turns[pool_target()].turn.changes["concurrency_limit"] == 5


def test_nothing_is_cancelled_while_it_stays_paused() -> None:
    stays = watched(circuit(), waiting=(waiting(),))
    facts = auto_pause_facts(WatchedPool(stays), overrides=read_overrides({"etl": {"backlog": "drop"}}))
    assert verbs(decide(facts)) == {"etl": Verb.LEAVE}


def test_says_why_it_did_not_judge() -> None:
    reasons = [
        decide(auto_pause_facts(watched_pool("etl", failed=failed))).plan.verdicts[0].reason for failed in (0, 2)
    ]
    assert reasons == [
        "no run failed in the last 60 min",
        "2 failed in the last 60 min, fewer than the 5 that could matter (50% of at least 10)",
    ]


def stray(target: Target, **changed: bool) -> tuple[Watched, Gate]:
    its = circuit(of=deployment_target())
    there = noted(its, target, limit=None, **changed)
    return watched(its, gate=there), there


def test_a_deployment_whose_pool_is_gone_is_resumed() -> None:
    lost, there = stray(deployment_target(pool=None))
    decision = decide(auto_pause_facts(watched_pool("gpu"), strays=(lost,)))
    assert verbs(decision) == {"gpu": Verb.LEAVE, "flow/nightly": Verb.RESUME}
    assert decision.turns[there.target].turn.changes == {"is_paused": False, "description": "Nightly loads"}


def test_a_deployment_whose_gone_pool_was_not_asked_for_is_left_out() -> None:
    lost, _ = stray(deployment_target(pool=None))
    assert verbs(decide(auto_pause_facts(watched_pool("gpu"), asked=("gpu",), strays=(lost,)))) == {"gpu": Verb.LEAVE}


def test_a_deployment_whose_pool_is_gone_stays_paused_where_a_person_paused_it_anew() -> None:
    lost, there = stray(deployment_target(pool=None), is_taken_over=True)
    decision = decide(auto_pause_facts(watched_pool("gpu"), strays=(lost,)))
    assert "is_paused" not in decision.turns[there.target].turn.changes


def test_a_deployment_whose_pool_is_gone_stays_paused_where_a_person_paused_it_during_its_trial() -> None:
    its = circuit(Phase.HALF_OPEN, of=deployment_target(), former_limit=None, probe_limit=None)
    there = noted(its, deployment_target(pool=None), limit=None, is_paused=True)
    decision = decide(auto_pause_facts(watched_pool("gpu"), strays=(watched(its, gate=there),)))
    assert "is_paused" not in decision.turns[there.target].turn.changes


@pytest.mark.parametrize("its", [circuit(), circuit(Phase.HALF_OPEN)])
def test_an_entry_that_is_misread_ends_no_pause_and_no_trial(its: Circuit) -> None:
    overrides = read_overrides({"etl": {"cooldown_minutes": "soon"}})
    assert verbs(decide(auto_pause_facts(WatchedPool(watched(its)), overrides=overrides))) == {"etl": Verb.LEAVE}


BY_HAND = with_pause("mine", "paused on 2026-03-29 11:00:00 UTC by Ann. Why: upgrade.", "0123abcd")


@pytest.mark.parametrize(
    ("paused", "tally", "verb", "left"),
    [
        (False, None, Verb.CHANGE, "mine"),
        (True, None, Verb.LEAVE, BY_HAND),
        (False, Tally(10, 10), Verb.PAUSE, "mine"),
        (True, Tally(10, 10), Verb.LEAVE, BY_HAND),
    ],
)
def test_the_note_of_a_pause_that_a_person_made_goes_when_that_is_over_and_not_before(
    paused: bool, tally: Tally | None, verb: Verb, left: str
) -> None:
    its = gate(pool_target(), is_paused=paused, description=BY_HAND)
    decision = decide(auto_pause_facts(watched_pool(gate=its, tally=tally, failed=10 if tally else 0)))
    (turn,) = [each.turn for each in decision.turns.values()]
    assert turn.verb is verb
    assert without_note(str(turn.changes.get("description", BY_HAND))) == left
    assert turn.tidies == (verb is Verb.CHANGE)
    decision.check()

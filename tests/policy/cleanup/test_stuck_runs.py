from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.cleanup.kinds import RULE, Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.cleanup.stuck_runs import ActiveRun, StuckFacts, decide_stuck_runs, to_listen_to
from flows.policy.facts import PoolFacts
from flows.policy.plan import Target, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from tests.builders import NOW, ago, pool, worker

MINUTES = 60
ENDS = (Verb.CRASH, Verb.CANCEL)


def active(state: str = "PENDING", **changed: Any) -> ActiveRun:
    """A run in its state for three hours, of a pool without worker."""
    usual = ActiveRun(
        id="id-owl",
        name="owl",
        pool="etl",
        state_type=state,
        state_name=state.capitalize(),
        state_id="one",
        since=ago(hours=3),
    )
    return replace(usual, **changed)


def scope(*pools: PoolFacts, **changed: Any) -> Scope:
    there = pools or (pool(),)
    selection = select_pools(["*"], [], [each.name for each in there])
    return replace(Scope(selection, there, Retention(stuck_minutes=MINUTES), Protection(), NOW), **changed)


def facts(*runs: ActiveRun, workers: Sequence[Any] = (), beats: Sequence[datetime] = ()) -> StuckFacts:
    return StuckFacts(runs, {"etl": tuple(workers)}, {run.id: tuple(beats) for run in runs})


def decided(run: ActiveRun, within: Scope | None = None, **observed: Any) -> Verdict:
    (verdict,) = decide_stuck_runs(facts(run, **observed), within or scope()).verdicts
    return verdict


def told(run: ActiveRun, within: Scope | None = None, **observed: Any) -> tuple[Verb, str]:
    verdict = decided(run, within, **observed)
    return verdict.verb, verdict.reason


OFFLINE = worker("w", last_heartbeat_at=ago(hours=2))
ONLINE = worker("w")


def test_crashes_a_run_that_is_pending_for_long_where_no_worker_is_online() -> None:
    assert told(active()) == (Verb.CRASH, "Pending for 3 h, and its work pool has no worker online")
    assert told(active(), workers=[OFFLINE])[0] is Verb.CRASH


def test_crashes_a_pending_run_whose_worker_is_gone_or_offline_though_others_are_online() -> None:
    run, other = active(worker="w"), worker("other")
    assert told(run, workers=[other]) == (Verb.CRASH, "Pending for 3 h, and its worker 'w' is gone")
    offline = (Verb.CRASH, "Pending for 3 h, and its worker 'w' was last heard of 2 h ago")
    assert told(run, workers=[OFFLINE, other]) == offline


def test_leaves_a_pending_run_where_a_worker_could_still_start_it() -> None:
    assert told(active(worker="w"), workers=[ONLINE]) == (
        Verb.LEAVE,
        "Pending for 3 h, but its worker 'w' is online",
    )
    two = [worker("a"), worker("b"), OFFLINE]
    assert told(active(), workers=two) == (Verb.LEAVE, "Pending for 3 h, but its work pool has 2 online workers")


def test_a_run_that_ran_before_may_have_been_claimed_by_another_worker_than_the_one_it_names() -> None:
    again = active(worker="w", starts=1)
    assert told(again, workers=[OFFLINE, worker("other")])[0] is Verb.LEAVE
    assert told(again, workers=[OFFLINE])[0] is Verb.CRASH
    submitting = replace(again, state_name="Submitting")
    assert told(submitting, workers=[OFFLINE, worker("other")])[0] is Verb.CRASH


def test_crashes_a_silent_run_whose_worker_is_offline() -> None:
    verdict = decided(active("RUNNING", worker="w"), workers=[OFFLINE], beats=[ago(minutes=123), ago(minutes=120)])
    assert (verdict.verb, verdict.reason) == (
        Verb.CRASH,
        "Running for 3 h, without heartbeat for 2 h, and its worker 'w' was last heard of 2 h ago",
    )
    assert verdict.numbers == {
        RULE: "stuck-runs",
        "minutes_in_state": 180,
        "minutes_since_heartbeat": 120,
        "minutes_since_worker": 120,
    }


def test_leaves_a_running_run_without_heartbeats_or_with_a_recent_one() -> None:
    stands = "Running for 3 h, and its work pool has no worker online, but"
    assert told(active("RUNNING")) == (Verb.LEAVE, f"{stands} no heartbeats are known of it")
    beats = [ago(minutes=63), ago(minutes=60)]
    assert told(active("RUNNING"), beats=beats) == (Verb.LEAVE, f"{stands} its last heartbeat came 1 h ago")


@pytest.mark.parametrize(("minutes", "verb"), [(90, Verb.LEAVE), (91, Verb.CRASH)])
def test_a_run_that_beats_rarely_is_silent_only_after_three_times_its_usual_gap(minutes: int, verb: Verb) -> None:
    # Half an hour as a rule; a gap of a day from when it was started anew changes nothing.
    beats = [ago(minutes=minutes + gap) for gap in (0, 30, 60, 60 + 24 * 60)]
    assert told(active("RUNNING", since=ago(days=9)), beats=beats)[0] is verb


def test_a_run_that_was_started_again_is_silent_only_since_then() -> None:
    again = active("RUNNING", since=ago(minutes=70), starts=2)
    rare = [ago(hours=5), ago(hours=5, minutes=30)]
    assert told(again, beats=rare)[0] is Verb.LEAVE
    often = [ago(hours=5), ago(hours=5, minutes=3)]
    assert told(again, beats=often)[0] is Verb.CRASH


def test_finishes_the_cancelling_of_a_run_whose_worker_is_offline_unless_it_still_sends_heartbeats() -> None:
    run = active("CANCELLING", worker="w")
    assert told(run, workers=[ONLINE]) == (Verb.LEAVE, "Cancelling for 3 h, but its worker 'w' is online")
    assert told(run) == (Verb.CANCEL, "Cancelling for 3 h, and its worker 'w' is gone")
    assert told(run, beats=[ago(hours=2)])[0] is Verb.CANCEL
    beating = "Cancelling for 3 h, and its worker 'w' is gone, but its last heartbeat came 5 min ago"
    assert told(run, beats=[ago(minutes=5)]) == (Verb.LEAVE, beating)


@pytest.mark.parametrize("type_", ["kubernetes:push", "prefect:managed", "prefect-agent"])
def test_leaves_runs_of_pools_that_have_no_workers_of_their_own(type_: str) -> None:
    words = f"Pending for 3 h, but work pools of type {type_} have no workers of their own"
    assert told(active(), scope(pool(type=type_))) == (Verb.LEAVE, words)


def test_leaves_runs_without_pool_and_those_whose_pool_has_just_gone() -> None:
    assert told(active(pool=None))[0] is Verb.LEAVE
    gone = decide_stuck_runs(StuckFacts((active(),)), scope()).verdicts[0]
    assert (gone.verb, gone.reason) == (Verb.LEAVE, "Pending for 3 h, but its work pool is gone by now")


def test_leaves_what_is_tagged_and_what_is_protected_and_says_so() -> None:
    kept = active(tags=frozenset({"a", "keep"}))
    assert told(kept)[1] == "Pending for 3 h, and its work pool has no worker online, but its tag 'keep' protects it"
    for protection in (Protection(pools=frozenset({"etl"})), Protection(run_ids=frozenset({"id-owl"}))):
        reason = protection.reason(Target(decided(active()).target.kind, "owl", "id-owl", "etl"))
        assert told(active(), scope(protection=protection)) == (Verb.LEAVE, reason)


def test_what_is_active_for_less_or_is_plainly_worked_on_is_only_counted() -> None:
    runs = (
        active(since=ago(minutes=60)),
        active("RUNNING", id="2", worker="w"),
        active("RUNNING", id="3", pool=None),
    )
    observed = StuckFacts(runs, {"etl": (ONLINE,)}, {"3": (ago(minutes=1),)})
    found = decide_stuck_runs(observed, scope())
    assert found.verdicts == ()
    assert found.left == {
        "active for less than 1 h": 1,
        "running, and a worker is online that works on them": 1,
        "running, with heartbeats": 1,
    }


def test_heartbeats_are_asked_for_where_they_decide() -> None:
    runs = [active(id="pending"), active("CANCELLING", id="cancelling"), active("RUNNING", id="running")]
    runs += [active("RUNNING", id="served", pool=None), active("RUNNING", id="young", since=ago(minutes=5))]
    attended = active("RUNNING", id="attended", worker="w")
    assert to_listen_to(facts(*runs, attended, workers=[OFFLINE]), scope()) == (
        "cancelling",
        "running",
        "served",
        "attended",
    )
    assert to_listen_to(facts(attended, workers=[ONLINE]), scope()) == ()


def test_the_longest_stuck_comes_first() -> None:
    runs = [active(id=str(hours), since=ago(hours=hours)) for hours in (3, 9, 5)]
    found = decide_stuck_runs(facts(*runs), scope())
    assert [verdict.target.id for verdict in found.verdicts] == ["9", "5", "3"]


lengths = st.integers(-5, 600).map(lambda minutes: NOW - timedelta(minutes=minutes))
some_workers = st.lists(
    st.builds(worker, st.sampled_from("ab"), pool=st.just("etl"), last_heartbeat_at=st.none() | lengths | st.just(NOW)),
    max_size=2,
    unique_by=lambda each: each.name,
)
some_runs = st.lists(
    st.builds(
        active,
        st.sampled_from(["PENDING", "RUNNING", "CANCELLING"]),
        id=st.integers(0, 7).map(str),
        pool=st.sampled_from([None, "etl", "push", "other"]),
        since=lengths,
        worker=st.sampled_from([None, "a", "b", "c"]),
        starts=st.integers(0, 1),
        tags=st.sampled_from([frozenset(), frozenset({"keep"})]),
    ),
    max_size=6,
    unique_by=lambda run: run.id,
)
all_beats = st.dictionaries(st.integers(0, 7).map(str), st.lists(lengths, max_size=4), max_size=8)
scopes = st.builds(
    lambda minutes, ids: scope(
        pool(),
        pool("push", type="ecs:push"),
        retention=Retention(stuck_minutes=minutes),
        protection=Protection(run_ids=ids),
    ),
    st.integers(1, 300),
    st.frozensets(st.integers(0, 7).map(str), max_size=3),
)
observations = st.builds(
    lambda runs, workers, beats: StuckFacts(tuple(runs), {"etl": tuple(workers)}, beats),
    some_runs,
    some_workers,
    all_beats,
)


@given(observations, scopes)
def test_nothing_ends_unless_both_signs_say_so(there: StuckFacts, within: Scope) -> None:
    known = {run.id: run for run in there.runs}
    workers = {each.name: each for each in there.workers["etl"]}
    for verdict in decide_stuck_runs(there, within).verdicts:
        run = known[verdict.target.id]
        if verdict.verb not in ENDS:
            continue
        assert verdict.verb is (Verb.CANCEL if run.state_type == "CANCELLING" else Verb.CRASH)
        assert run.pool == "etl"
        assert NOW - run.since > within.retention.stuck
        assert "keep" not in run.tags
        assert run.id not in within.protection.run_ids
        named = [workers[run.worker]] if run.worker in workers else []
        asked = named if run.worker else workers.values()
        assert not any(each.is_online(NOW) for each in asked)
        if run.state_type == "RUNNING":
            assert there.heartbeats[run.id]
            assert all(NOW - beat > within.retention.stuck for beat in there.heartbeats[run.id])


@given(observations, scopes)
def test_each_run_has_one_verdict_or_is_counted_once(there: StuckFacts, within: Scope) -> None:
    found = decide_stuck_runs(there, within)
    ids = [verdict.target.id for verdict in found.verdicts]
    assert len(ids) == len(set(ids))
    assert len(ids) + sum(found.left.values()) == len(there.runs)


@given(observations, scopes, st.integers(0, 300))
def test_longer_retention_ends_nothing_more(there: StuckFacts, within: Scope, more: int) -> None:
    longer = Retention(stuck_minutes=within.retention.stuck_minutes + more)

    def ended(scope: Scope) -> set[str]:
        return {verdict.target.id for verdict in decide_stuck_runs(there, scope).verdicts if verdict.verb in ENDS}

    assert ended(replace(within, retention=longer)) <= ended(within)


@given(observations, scopes)
def test_no_heartbeat_matters_that_is_not_asked_for(there: StuckFacts, within: Scope) -> None:
    asked = to_listen_to(there, within)
    only = {id_: beats for id_, beats in there.heartbeats.items() if id_ in asked}
    plain = decide_stuck_runs(replace(there, heartbeats=only), within)
    verbs = [(verdict.target.id, verdict.verb, verdict.reason) for verdict in plain.verdicts]
    everything = decide_stuck_runs(there, within).verdicts
    assert [(verdict.target.id, verdict.verb, verdict.reason) for verdict in everything] == verbs

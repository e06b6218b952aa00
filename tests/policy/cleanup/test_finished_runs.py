from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.cleanup.finished_runs import (
    ENDED,
    FAILURES,
    FinishedFacts,
    FinishedRun,
    History,
    Past,
    decide_finished_runs,
    keep_reason,
    sift,
)
from flows.policy.cleanup.kinds import Scope
from flows.policy.plan import Kind, Verb, Verdict
from tests.builders import NOW, ago
from tests.cleanup import OWN, OWN_RUN, finished, scope

MOMENT = timedelta(microseconds=1)
THERE = ("id-a", "id-b")
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
RECENT = "ended too recently"


@dataclass(frozen=True)
class World:
    """All runs there are; `parents` has the run that started one as its subflow."""

    runs: tuple[FinishedRun, ...]
    parents: Mapping[str, str]

    def without(self, gone: Iterable[str]) -> "World":
        ids = set(gone)
        return replace(self, runs=tuple(run for run in self.runs if run.id not in ids))


def ended_last(runs: Iterable[FinishedRun], number: int) -> set[str]:
    return {run.id for run in sorted(runs, key=lambda run: (run.ended_at, run.id), reverse=True)[:number]}


def busy_parents(world: World) -> frozenset[str]:
    """Every run above one that has not ended."""
    found = set()
    for run in world.runs:
        above = world.parents.get(run.id) if run.state_type in UNFINISHED else None
        while above is not None and above not in found:
            found.add(above)
            above = world.parents.get(above)
    return frozenset(found)


def past_of(world: World, within: Scope) -> Past:
    """What is read of the past, made of all runs there are."""
    histories = {}
    for deployment in THERE:
        ended = [run for run in world.runs if run.deployment_id == deployment and run.state_type in ENDED]
        real = [run for run in ended if run.state_type != "CANCELLED"]
        last = ended_last(ended, within.retention.keep_last) | ended_last(real, within.retention.keep_last)
        failure = ended_last((run for run in ended if run.state_type in FAILURES), 1)
        is_kept = within.retention.keep_latest_failure
        histories[deployment] = History(frozenset(last), next(iter(failure), None) if is_kept else None)
    return Past(histories, busy_parents(world))


def decided(world: World, within: Scope) -> tuple[Verdict, ...]:
    free, kept = sift(world.runs, past_of(world, within), within)
    return decide_finished_runs(FinishedFacts(tuple(free), kept), within).verdicts


def gone(world: World, within: Scope) -> set[str]:
    return {verdict.target.id for verdict in decided(world, within)}


def reason(run: FinishedRun, within: Scope | None = None, past: Past | None = None) -> str:
    return keep_reason(run, past or Past(), within or scope())


state_types = st.sampled_from(["COMPLETED", "FAILED", "CRASHED", "CANCELLED", "COMPLETED", "RUNNING", "PAUSED"])
state_names = st.sampled_from([None, None, "TimedOut", "Running", "Late", "Cached", "Bravo!"])


@st.composite
def runs(draw: st.DrawFn, number: int) -> FinishedRun:
    state_type = draw(state_types)
    return FinishedRun(
        id=draw(st.sampled_from([f"id-{number}"] * 9 + [OWN_RUN])) if number == 0 else f"id-{number}",
        name=draw(st.sampled_from(["owl", "fox"])),
        pool=draw(st.sampled_from(["etl", "etl", "etl", "gpu", "other", OWN, None])),
        deployment_id=draw(st.sampled_from(["id-a", "id-a", "id-b", "id-gone", None])),
        state_type=state_type,
        state_name=draw(state_names) or state_type.title(),
        ended_at=NOW - timedelta(days=draw(st.integers(0, 8)), microseconds=draw(st.integers(-1, 1))),
        tags=draw(st.sampled_from([frozenset()] * 3 + [frozenset({"keep"}), frozenset({"a", "b"})])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Some runs, a few of them subflows of one that was made before them."""
    there = tuple(draw(runs(number)) for number in range(draw(st.integers(0, 14))))
    parents = {
        run.id: there[draw(st.integers(0, number - 1))].id
        for number, run in enumerate(there)
        if number and draw(st.sampled_from([False, False, True]))
    }
    return World(there, parents)


@st.composite
def scopes(draw: st.DrawFn) -> Scope:
    return scope(
        draw(st.sampled_from([["*"], ["*"], ["etl", "gpu"], ["e*", "o*"]])),
        draw(st.sampled_from([[], [], ["gpu"]])),
        there=("etl", "gpu", "other", OWN),
        finished_days=draw(st.integers(1, 7)),
        keep_last=draw(st.integers(0, 4)),
        keep_latest_failure=draw(st.booleans()),
        keep_tags=draw(st.sampled_from([["keep"], [], ["keep", "b"]])),
    )


def with_retention(within: Scope, **changed: Any) -> Scope:
    return replace(within, retention=within.retention.model_copy(update=changed))


def later(run: FinishedRun, among: Iterable[FinishedRun]) -> int:
    """How many of these ended after the run; of those that ended at the same time, which have the larger id."""
    return sum((other.ended_at, other.id) > (run.ended_at, run.id) for other in among)


def is_kept(run: FinishedRun, world: World, within: Scope) -> bool:
    """Whether anything speaks for the run, said of the whole world and not of what is read of it."""
    retention = within.retention
    peers = [each for each in world.runs if each.deployment_id == run.deployment_id and each.state_type in ENDED]
    real = [each for each in peers if each.state_type != "CANCELLED"]
    failures = [each for each in peers if each.state_type in FAILURES]
    is_real = run.state_type != "CANCELLED"
    is_failure = retention.keep_latest_failure and run in failures
    return (
        run.pool == OWN
        or run.id == OWN_RUN
        or (run.pool not in within.selection.names if run.pool else "*" not in within.selection.asked.patterns)
        or run.state_type in UNFINISHED
        or run.ended_at >= NOW - timedelta(days=retention.finished_days)
        or bool(run.tags & set(retention.keep_tags))
        or run.id in busy_parents(world)
        or (run.deployment_id in THERE and later(run, peers) < retention.keep_last)
        or (run.deployment_id in THERE and is_real and later(run, real) < retention.keep_last)
        or (run.deployment_id in THERE and is_failure and not later(run, failures))
    )


@given(worlds(), scopes())
def test_deletes_exactly_the_runs_that_nothing_speaks_for(world: World, within: Scope) -> None:
    assert gone(world, within) == {run.id for run in world.runs if not is_kept(run, world, within)}


@given(worlds(), scopes())
def test_everything_that_happens_is_a_run_being_deleted(world: World, within: Scope) -> None:
    by_id = {run.id: run for run in world.runs}
    for verdict in decided(world, within):
        run = by_id[verdict.target.id]
        assert (verdict.verb, verdict.target.kind) == (Verb.DELETE, Kind.RUN)
        assert (verdict.target.name, verdict.target.pool) == (run.name, run.pool)
        assert within.protection.reason(verdict.target) is None


@given(worlds(), scopes(), st.integers(1, 8))
def test_a_longer_retention_never_deletes_more(world: World, within: Scope, longer: int) -> None:
    days = within.retention.finished_days + longer
    assert gone(world, with_retention(within, finished_days=days)) <= gone(world, within)


@given(worlds(), scopes(), st.integers(1, 5))
def test_keeping_more_of_the_last_never_deletes_more(world: World, within: Scope, more: int) -> None:
    last = within.retention.keep_last + more
    assert gone(world, with_retention(within, keep_last=last)) <= gone(world, within)


@given(worlds(), scopes(), st.sampled_from(["a", "b", "keep", "nothing-has-it"]))
def test_another_keep_tag_never_deletes_more(world: World, within: Scope, tag: str) -> None:
    tags = [*within.retention.keep_tags, tag]
    assert gone(world, with_retention(within, keep_tags=tags)) <= gone(world, within)


@given(worlds(), scopes())
def test_keeping_the_latest_failure_keeps_at_most_one_run_more_of_each_deployment(world: World, within: Scope) -> None:
    with_it = gone(world, with_retention(within, keep_latest_failure=True))
    without_it = gone(world, with_retention(within, keep_latest_failure=False))
    assert with_it <= without_it
    assert len(without_it - with_it) <= len(THERE)


@given(worlds(), scopes())
def test_a_second_cleanup_finds_nothing_left_to_delete(world: World, within: Scope) -> None:
    assert decided(world.without(gone(world, within)), within) == ()


@given(worlds(), scopes(), st.integers(0, 5))
def test_a_cleanup_that_stops_in_the_middle_leaves_the_rest_to_the_next(world: World, within: Scope, most: int) -> None:
    first = [verdict.target.id for verdict in decided(world, within)][:most]
    assert gone(world, within) == set(first) | gone(world.without(first), within)


@given(worlds(), scopes(), st.randoms(use_true_random=False))
def test_the_order_in_which_runs_are_read_does_not_matter(world: World, within: Scope, random: Any) -> None:
    shuffled = list(world.runs)
    random.shuffle(shuffled)
    assert decided(replace(world, runs=tuple(shuffled)), within) == decided(world, within)


@given(worlds(), scopes())
def test_the_oldest_goes_first_and_of_equals_the_one_with_the_smaller_id(world: World, within: Scope) -> None:
    ended = {run.id: run.ended_at for run in world.runs}
    order = [(ended[verdict.target.id], verdict.target.id) for verdict in decided(world, within)]
    assert order == sorted(order)


@given(worlds(), scopes())
def test_every_run_is_either_deleted_or_counted_among_the_kept(world: World, within: Scope) -> None:
    free, kept = sift(world.runs, past_of(world, within), within)
    assert len(free) + sum(kept.values()) == len(world.runs)
    assert all(kept.values())
    assert all(kept)


@given(worlds(), scopes(), state_names)
def test_what_a_state_is_called_decides_nothing(world: World, within: Scope, name: str | None) -> None:
    renamed = tuple(replace(run, state_name=name or run.state_type) for run in world.runs)
    assert gone(replace(world, runs=renamed), within) == gone(world, within)


@given(worlds(), scopes())
def test_runs_without_pool_go_only_where_every_pool_is_asked_for(world: World, within: Scope) -> None:
    loose = tuple(replace(run, pool=None) for run in world.runs)
    if gone(replace(world, runs=loose), within):
        assert "*" in within.selection.asked.patterns


def test_a_run_of_no_pool_and_no_deployment_goes_where_every_pool_is_asked_for() -> None:
    run = finished(pool=None, deployment_id=None)
    assert reason(run) == ""
    assert reason(run, scope(["*"], ["gpu"])) == ""
    assert reason(run, scope(["etl", "gpu"])) == "their work pool is not selected"
    assert reason(run, scope(["?*"])) == "their work pool is not selected"


def test_a_run_of_a_pool_that_is_not_selected_stays() -> None:
    assert reason(finished(pool="gpu"), scope(["etl"])) == "their work pool is not selected"
    assert reason(finished(pool="gpu"), scope(["*"], ["gpu"])) == "their work pool is not selected"
    assert reason(finished(pool="deleted-and-unknown")) == "their work pool is not selected"


@pytest.mark.parametrize("own", [finished(pool=OWN), replace(finished(), id=OWN_RUN)])
def test_the_keepers_own_runs_stay(own: FinishedRun) -> None:
    assert reason(own) == "Poolkeeper's own"


@pytest.mark.parametrize("state_type", UNFINISHED)
def test_a_run_that_has_not_ended_stays_whatever_its_state_is_called(state_type: str) -> None:
    assert reason(finished(state_type=state_type, state_name="Completed")) == RECENT


@pytest.mark.parametrize(("type_", "name"), [("FAILED", "TimedOut"), ("COMPLETED", "Running"), ("CRASHED", "Late")])
def test_a_run_with_a_state_of_its_own_name_counts_by_the_states_type(type_: str, name: str) -> None:
    assert reason(finished(state_type=type_, state_name=name)) == ""


def test_a_run_goes_only_once_it_is_older_than_the_retention_and_not_at_the_very_moment() -> None:
    cutoff = ago(days=30)
    assert reason(finished(ended_at=cutoff - MOMENT)) == ""
    assert reason(finished(ended_at=cutoff)) == RECENT
    assert reason(finished(ended_at=cutoff + MOMENT)) == RECENT
    assert reason(finished(ended_at=NOW + timedelta(days=1))) == RECENT


def test_part_of_a_day_is_a_retention_too() -> None:
    assert reason(finished(ended_at=ago(hours=13)), scope(finished_days=0.5)) == ""
    assert reason(finished(ended_at=ago(hours=11)), scope(finished_days=0.5)) == RECENT


def test_one_of_several_keep_tags_is_enough_and_a_similar_one_is_not() -> None:
    within = scope(keep_tags=["keep", "audit"])
    assert reason(finished(tags=frozenset({"nightly", "audit"})), within) == "their tag protects them"
    assert reason(finished(tags=frozenset({"Audit", "keeper"})), within) == ""
    assert reason(finished(tags=frozenset({"keep"})), scope(keep_tags=[])) == ""


def test_a_parent_whose_subflow_has_not_ended_stays_also_where_its_deployment_is_gone() -> None:
    past = Past(parents=frozenset({"id-old-owl"}))
    assert reason(finished(), past=past) == "a subflow of theirs has not ended"
    assert reason(finished(deployment_id=None), past=past) == "a subflow of theirs has not ended"


def test_the_last_of_a_deployment_that_exists_stay_with_the_number_that_is_kept() -> None:
    past = Past({"id-a": History(last=frozenset({"id-old-owl"}))})
    kept = "among the last 3 of their deployment"
    assert reason(finished(deployment_id="id-a"), scope(keep_last=3), past) == kept
    assert reason(finished("other", deployment_id="id-a"), scope(keep_last=3), past) == ""


def test_the_latest_failure_of_a_deployment_stays() -> None:
    past = Past({"id-a": History(latest_failure="id-old-owl")})
    assert reason(finished(deployment_id="id-a"), past=past) == "the latest failure of their deployment"


def test_what_one_deployment_keeps_does_not_speak_for_the_run_of_another() -> None:
    past = Past({"id-a": History(frozenset({"id-old-owl"}), "id-old-owl"), "id-b": History()})
    assert reason(finished(deployment_id="id-b"), past=past) == ""
    assert reason(finished(deployment_id="id-gone"), past=past) == ""
    assert reason(finished(deployment_id=None), past=past) == ""


def told(run: FinishedRun) -> str:
    return decide_finished_runs(FinishedFacts((run,)), scope()).verdicts[0].reason


def test_the_reason_says_how_it_ended_and_when() -> None:
    assert told(finished()) == "Completed 100 d ago"
    assert told(finished(state_type="FAILED", state_name="TimedOut", ended_at=ago(days=31, hours=5))) == (
        "TimedOut 31 d 5 h ago"
    )
    assert told(finished(deployment_id=None)) == "Completed 100 d ago, of no deployment"


def test_what_was_not_looked_at_is_counted_beside_what_is_kept() -> None:
    found = decide_finished_runs(FinishedFacts(kept={RECENT: 3}, unread=7), scope())
    assert found.left == {RECENT: 3, "more than may go at once, not looked at": 7}
    assert decide_finished_runs(FinishedFacts(), scope()).left == {}


def test_the_facts_are_not_changed_by_deciding() -> None:
    facts = FinishedFacts(kept={RECENT: 3}, unread=7)
    decide_finished_runs(facts, scope())
    assert facts.kept == {RECENT: 3}


def names_of(kept: Sequence[FinishedRun]) -> set[str]:
    return {run.name for run in kept}


def test_of_a_deployment_whose_last_runs_were_all_cancelled_the_last_real_ones_stay() -> None:
    real = [finished(f"real-{day}", deployment_id="id-a", ended_at=ago(days=50 + day)) for day in range(4)]
    nothing = [
        finished(f"cancelled-{day}", deployment_id="id-a", state_type="CANCELLED", ended_at=ago(days=40 + day))
        for day in range(4)
    ]
    world = World((*real, *nothing), {})
    there = names_of([run for run in world.runs if run.id not in gone(world, scope(keep_last=2))])
    assert there == {"real-0", "real-1", "cancelled-0", "cancelled-1"}

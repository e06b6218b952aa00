from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.backlog import HELD
from flows.policy.cleanup.kinds import RULE, Scope
from flows.policy.cleanup.late_runs import LateRun, decide_late_runs, untouchable
from flows.policy.plan import Kind, Verb
from tests.builders import NOW, ago
from tests.cleanup import OWN, OWN_RUN, late_run, scope

MOMENT = timedelta(microseconds=1)
WAIT = frozenset({"Scheduled", "Late", HELD})

state_names = st.sampled_from(["Scheduled", "Late", "Late", HELD, "AwaitingRetry", "Paused", "Bravo!"])
runs = st.lists(
    st.builds(
        LateRun,
        id=st.sampled_from([*"abcdefghijkl", OWN_RUN]),
        name=st.just("owl"),
        pool=st.sampled_from(["etl", "etl", "gpu", OWN]),
        deployment_id=st.sampled_from([None, "a", "a", "b"]),
        due_at=st.integers(0, 5).map(lambda hours: NOW - timedelta(hours=hours)),
        state_name=state_names,
        state_id=st.just("one"),
        auto_scheduled=st.sampled_from([True, True, False]),
        starts=st.sampled_from([0, 0, 0, 1]),
        tags=st.sampled_from([frozenset(), frozenset(), frozenset({"keep"}), frozenset({"nightly"})]),
    ),
    max_size=12,
    unique_by=lambda run: run.id,
)
late_hours = st.integers(1, 5)


def cancelled(there: Sequence[LateRun], within: Scope) -> list[str]:
    return [verdict.target.id for verdict in decide_late_runs(there, within).verdicts if verdict.verb is Verb.CANCEL]


def told(there: Sequence[LateRun], within: Scope | None = None) -> dict[str, tuple[Verb, str]]:
    verdicts = decide_late_runs(there, within or scope()).verdicts
    return {verdict.target.name: (verdict.verb, verdict.reason) for verdict in verdicts}


def is_a_schedules(run: LateRun) -> bool:
    """Whether a schedule made it, nobody has touched it, and nothing else speaks for it."""
    return (
        run.auto_scheduled
        and run.starts == 0
        and run.state_name in WAIT - {HELD}
        and "keep" not in run.tags
        and run.pool != OWN
        and run.id != OWN_RUN
    )


@given(runs, late_hours)
def test_cancels_exactly_what_is_late_for_long_and_has_a_newer_one(there: Sequence[LateRun], hours: int) -> None:
    free = [run for run in there if is_a_schedules(run)]
    expected = {
        run.id
        for run in free
        if run.due_at < NOW - timedelta(hours=hours)
        and any(
            (other.due_at, other.id) > (run.due_at, run.id) and other.deployment_id == run.deployment_id
            for other in free
        )
    }
    assert set(cancelled(there, scope(late_hours=hours))) == expected


@given(runs, late_hours)
def test_one_run_of_each_deployment_is_left_to_make_up_for_the_others(there: Sequence[LateRun], hours: int) -> None:
    gone = cancelled(there, scope(late_hours=hours))
    free = [run for run in there if is_a_schedules(run)]
    for deployment in {run.deployment_id for run in free}:
        newest = max((run for run in free if run.deployment_id == deployment), key=lambda run: (run.due_at, run.id))
        assert newest.id not in gone


@given(runs, late_hours, st.integers(1, 5))
def test_a_longer_time_never_cancels_more(there: Sequence[LateRun], hours: int, longer: int) -> None:
    assert set(cancelled(there, scope(late_hours=hours + longer))) <= set(cancelled(there, scope(late_hours=hours)))


@given(runs, late_hours, st.sampled_from(["nightly", "nothing-has-it"]))
def test_a_keep_tag_protects_what_has_it_whatever_becomes_of_the_others(
    there: Sequence[LateRun], hours: int, tag: str
) -> None:
    gone = cancelled(there, scope(late_hours=hours, keep_tags=["keep", tag]))
    assert not [run for run in there if run.id in gone and tag in run.tags]
    assert set(gone) <= set(cancelled(there, scope(late_hours=hours)))


@given(runs, late_hours, st.randoms(use_true_random=False))
def test_the_order_in_which_runs_are_read_does_not_matter(there: list[LateRun], hours: int, random: Any) -> None:
    decided = decide_late_runs(there, scope(late_hours=hours))
    random.shuffle(there)
    assert decide_late_runs(there, scope(late_hours=hours)) == decided


@given(runs, late_hours)
def test_the_oldest_goes_first(there: Sequence[LateRun], hours: int) -> None:
    due = {run.id: (run.due_at, run.id) for run in there}
    order = [due[each] for each in cancelled(there, scope(late_hours=hours))]
    assert order == sorted(order)


@given(runs, late_hours)
def test_a_second_cleanup_finds_nothing_left_to_cancel(there: Sequence[LateRun], hours: int) -> None:
    within = scope(late_hours=hours)
    gone = cancelled(there, within)
    assert cancelled([run for run in there if run.id not in gone], within) == []


@given(runs, late_hours)
def test_every_run_has_a_verdict_or_is_counted(there: Sequence[LateRun], hours: int) -> None:
    found = decide_late_runs(there, scope(late_hours=hours))
    late = {run.id for run in there if run.due_at < NOW - timedelta(hours=hours)}
    assert {verdict.target.id for verdict in found.verdicts} == late
    assert len(found.verdicts) + sum(found.left.values()) == len(there)
    assert all(found.left.values())


@given(runs, late_hours)
def test_what_is_protected_is_never_cancelled(there: Sequence[LateRun], hours: int) -> None:
    within = scope(late_hours=hours)
    for verdict in decide_late_runs(there, within).verdicts:
        assert verdict.target.kind is Kind.RUN
        assert verdict.numbers[RULE] == "late-runs"
        assert verdict.verb is Verb.LEAVE or within.protection.reason(verdict.target) is None


def test_all_but_the_newest_of_a_deployment_go() -> None:
    oldest, older, newest = (late_run(name, due_at=ago(days=days)) for name, days in [("a", 4), ("b", 3), ("c", 2)])
    assert told([newest, oldest, older]) == {
        "a": (Verb.CANCEL, "late by 4 d; its deployment has a newer one"),
        "b": (Verb.CANCEL, "late by 3 d; its deployment has a newer one"),
        "c": (Verb.LEAVE, "late by 2 d; the newest of its deployment"),
    }


def test_a_run_that_is_late_since_just_now_is_the_newest_and_is_counted() -> None:
    old, new = late_run("a"), late_run("b", due_at=ago(hours=1))
    found = decide_late_runs([old, new], scope())
    assert [(verdict.target.name, verdict.verb) for verdict in found.verdicts] == [("a", Verb.CANCEL)]
    assert found.left == {"late by less than 1 d": 1}


def test_the_newest_of_one_deployment_does_not_stand_for_those_of_another() -> None:
    runs = [late_run("a", deployment_id="a"), late_run("b", deployment_id="b", due_at=ago(hours=1))]
    assert told(runs)["a"] == (Verb.LEAVE, "late by 2 d; the newest of its deployment")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"auto_scheduled": False}, "made by hand"),
        ({"starts": 1}, "started before, now Late"),
        ({"state_name": "AwaitingRetry"}, "started before, now AwaitingRetry"),
        ({"state_name": "Bravo!"}, "started before, now Bravo!"),
        ({"tags": frozenset({"keep", "x"})}, "a tag of it protects it"),
        ({"state_name": HELD}, "it waits for a slot of its deployment"),
        ({"pool": OWN}, "work pool 'management' runs Poolkeeper itself"),
        ({"id": OWN_RUN}, "flow run 'a' is the one that decides this"),
    ],
)
def test_leaves_alone_what_a_person_may_still_want_and_says_why(changed: dict[str, Any], why: str) -> None:
    old, newer = late_run("a", **changed), late_run("b", due_at=ago(hours=1))
    assert told([old, newer])["a"] == (Verb.LEAVE, f"late by 2 d; {why}")
    assert untouchable(old, scope()) == why


@pytest.mark.parametrize(
    "changed", [{"auto_scheduled": False}, {"starts": 1}, {"state_name": HELD}, {"tags": frozenset({"keep"})}]
)
def test_what_is_left_alone_is_not_the_newest_that_makes_up_for_the_others(changed: dict[str, Any]) -> None:
    own = late_run("a", due_at=ago(hours=1), **changed)
    older, newest = late_run("b", due_at=ago(days=3)), late_run("c", due_at=ago(days=2))
    assert {name: verb for name, (verb, _) in told([own, older, newest]).items()} == {
        "b": Verb.CANCEL,
        "c": Verb.LEAVE,
    }


def test_of_two_that_were_due_at_the_same_time_one_stays() -> None:
    twins = [late_run("a"), late_run("b")]
    assert {name: verb for name, (verb, _) in told(twins).items()} == {"a": Verb.CANCEL, "b": Verb.LEAVE}


def test_exactly_as_late_as_is_allowed_is_not_too_late() -> None:
    newest = late_run("b", due_at=ago(hours=1))
    assert told([late_run("a", due_at=ago(hours=24)), newest]) == {}
    assert told([late_run("a", due_at=ago(hours=24) - MOMENT), newest])["a"][0] is Verb.CANCEL


def test_the_numbers_say_by_how_many_minutes_it_is_late() -> None:
    (found,) = decide_late_runs([late_run()], scope()).verdicts
    assert found.numbers == {RULE: "late-runs", "late_minutes": 2 * 24 * 60}


def test_no_late_run_is_no_verdict_and_no_count() -> None:
    found = decide_late_runs([], scope())
    assert (found.verdicts, found.left) == ((), {})


@given(runs)
def test_the_state_of_a_run_is_not_what_makes_it_the_newest(there: Sequence[LateRun]) -> None:
    waiting = [replace(run, state_name="Late") for run in there]
    scheduled = [replace(run, state_name="Scheduled") for run in there]
    assert cancelled(waiting, scope(late_hours=1)) == cancelled(scheduled, scope(late_hours=1))

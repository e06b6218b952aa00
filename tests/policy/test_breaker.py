from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from flows.policy.breaker import next_turn
from flows.policy.case import Case, Turn
from flows.policy.circuit import TURNS_KEPT, Circuit, Phase
from flows.policy.failure_threshold import Tally
from flows.policy.lease import LONGEST_REASON, read_note
from flows.policy.override import Wish
from flows.policy.plan import Verb
from tests.builders import NOW, ago, coming
from tests.circuits import case, circuit, deployment_target, gate, noted, recovery, rules

OPEN, HALF_OPEN, CLOSED = Phase.OPEN, Phase.HALF_OPEN, Phase.CLOSED
LIMIT = "concurrency_limit"
OVER: dict[str, Any] = {"until": ago(seconds=1)}


def turn(its: Circuit | None = None, *, of: dict[str, Any] | None = None, **changed: Any) -> Turn:
    """The next turn of a pool whose gate is as its circuit left it, but for what `of` changes of it."""
    usual: Case = case(its, **changed)
    return next_turn(replace(usual, gate=replace(usual.gate, **(of or {}))), rules())


def phase(found: Turn) -> Phase | None:
    return found.circuit.phase if found.circuit else None


@pytest.mark.parametrize(
    ("before", "changed", "verb", "after"),
    [
        (None, {}, Verb.LEAVE, None),
        (None, {"blame": "its runs fail"}, Verb.PAUSE, OPEN),
        (None, {"wish": Wish.OPEN}, Verb.PAUSE, OPEN),
        (None, {"wish": Wish.DISABLED, "blame": "its runs fail"}, Verb.LEAVE, None),
        (circuit(CLOSED), {}, Verb.LEAVE, CLOSED),
        (circuit(CLOSED), {"blame": "its runs fail"}, Verb.PAUSE, OPEN),
        (circuit(CLOSED), {"wish": Wish.OPEN}, Verb.PAUSE, OPEN),
        (circuit(CLOSED, forced=True), {"wish": Wish.OPEN, "blame": "its runs fail"}, Verb.LEAVE, CLOSED),
        (circuit(CLOSED, forced=True), {"blame": "its runs fail"}, Verb.PAUSE, OPEN),
        (circuit(OPEN), {}, Verb.LEAVE, OPEN),
        (circuit(OPEN, until=NOW), {}, Verb.RESUME, HALF_OPEN),
        (circuit(OPEN, until=coming(seconds=1)), {}, Verb.LEAVE, OPEN),
        (circuit(OPEN), {"wish": Wish.OPEN}, Verb.CHANGE, OPEN),
        (circuit(OPEN), {"wish": Wish.DISABLED}, Verb.RESUME, CLOSED),
        (circuit(OPEN, until=None, forced=True), {"wish": Wish.OPEN}, Verb.LEAVE, OPEN),
        (circuit(OPEN, until=None, forced=True), {}, Verb.RESUME, HALF_OPEN),
        (circuit(OPEN, until=None, forced=True), {"wish": Wish.DISABLED}, Verb.RESUME, CLOSED),
        (circuit(HALF_OPEN), {}, Verb.LEAVE, HALF_OPEN),
        (circuit(HALF_OPEN), {"blame": "its runs fail"}, Verb.LEAVE, HALF_OPEN),
        (circuit(HALF_OPEN), {"probes": Tally(1, 1)}, Verb.LEAVE, HALF_OPEN),
        (circuit(HALF_OPEN), {"probes": Tally(2, 2)}, Verb.PAUSE, OPEN),
        (circuit(HALF_OPEN), {"probes": Tally(2, 0)}, Verb.LEAVE, HALF_OPEN),
        (circuit(HALF_OPEN), {"probes": Tally(3, 0)}, Verb.CHANGE, CLOSED),
        (circuit(HALF_OPEN), {"probes": Tally(3, 1)}, Verb.CHANGE, CLOSED),
        (circuit(HALF_OPEN), {"probes": Tally(4, 2)}, Verb.PAUSE, OPEN),
        (circuit(HALF_OPEN), {"wish": Wish.OPEN}, Verb.PAUSE, OPEN),
        (circuit(HALF_OPEN), {"wish": Wish.DISABLED, "probes": Tally(3, 3)}, Verb.CHANGE, CLOSED),
    ],
)  # fmt: skip
def test_turns_of_a_pool_that_nobody_touched(
    before: Circuit | None, changed: dict[str, Any], verb: Verb, after: Phase | None
) -> None:
    found = turn(before, **changed)
    assert (found.verb, phase(found)) == (verb, after)


@pytest.mark.parametrize("wish", Wish)
@pytest.mark.parametrize("before", [None, circuit(CLOSED), circuit(CLOSED, forced=True)])
def test_a_pool_that_a_person_paused_is_left_alone(before: Circuit | None, wish: Wish) -> None:
    found = turn(before, of={"is_paused": True}, wish=wish, blame="its runs fail")
    assert (found.verb, found.changes) == (Verb.LEAVE, {})


@pytest.mark.parametrize("wish", Wish)
@pytest.mark.parametrize("before", [circuit(OPEN), circuit(OPEN, **OVER), circuit(OPEN, until=None, forced=True)])
def test_leaves_a_pool_alone_that_a_person_resumed(before: Circuit, wish: Wish) -> None:
    found = turn(before, of={"is_paused": False}, wish=wish, blame="its runs fail")
    assert (phase(found), found.changes) == (CLOSED, {"description": "Nightly loads"})


@pytest.mark.parametrize("wish", Wish)
@pytest.mark.parametrize("before", [circuit(OPEN), circuit(OPEN, **OVER), circuit(OPEN, until=None, forced=True)])
def test_never_resumes_what_a_person_paused_anew(before: Circuit, wish: Wish) -> None:
    found = turn(before, of={"is_taken_over": True}, wish=wish)
    assert (phase(found), found.changes) == (CLOSED, {"description": "Nightly loads"})


@pytest.mark.parametrize("wish", Wish)
def test_what_a_person_paused_during_the_trial_stays_paused_at_its_former_limit(wish: Wish) -> None:
    found = turn(circuit(HALF_OPEN), of={"is_paused": True}, wish=wish, probes=Tally(3, 3))
    assert (phase(found), found.changes) == (CLOSED, {"description": "Nightly loads", LIMIT: 10})


def test_what_a_person_resumed_against_a_wish_is_not_paused_for_it_again() -> None:
    closed = turn(circuit(OPEN, until=None, forced=True), of={"is_paused": False}, wish=Wish.OPEN).circuit
    assert closed is not None
    assert turn(closed, wish=Wish.OPEN).verb is Verb.LEAVE
    taken_back = turn(closed).circuit
    assert taken_back is not None
    assert not taken_back.forced
    assert turn(taken_back, wish=Wish.OPEN).verb is Verb.PAUSE


def test_a_pause_sets_everything_in_one_write() -> None:
    found = turn(blame="5 of 10 runs failed")
    assert set(found.changes) == {"is_paused", "description"}
    note = read_note(str(found.changes["description"]))
    assert note is not None
    assert found.circuit is not None
    assert note.tag == found.circuit.tag
    assert "5 of 10 runs failed" in note.words
    assert str(found.changes["description"]).endswith("\n\nNightly loads")


def test_a_pause_has_a_lease_and_begins_a_story() -> None:
    after = turn(blame="5 of 10 runs failed").circuit
    assert after is not None
    assert after.until is not None
    assert timedelta(minutes=10) <= after.until - NOW <= timedelta(minutes=11)
    assert (after.step, after.since, after.opened_at, after.reopened) == (1, NOW, NOW, 0)
    assert (after.applied, after.forced) == (False, False)
    assert [(each.at, each.phase) for each in after.story] == [(NOW, OPEN)]


def test_a_forced_pause_has_no_end() -> None:
    after = turn(wish=Wish.OPEN).circuit
    assert after is not None
    assert (after.until, after.forced) == (None, True)


@pytest.mark.parametrize(
    ("limit", "probe", "changes"), [(10, 2, {LIMIT: 2}), (None, 2, {LIMIT: 2}), (2, 2, {}), (1, 1, {}), (0, 0, {})]
)
def test_tries_at_the_probe_limit_or_the_pools_own_where_that_is_lower(
    limit: int | None, probe: int, changes: dict[str, int]
) -> None:
    before = circuit(OPEN, **OVER)
    found = next_turn(case(before, gate=noted(before, limit=limit)), rules(recovery=recovery(probe_limit=2)))
    assert found.circuit is not None
    assert (found.circuit.probe_limit, found.circuit.former_limit) == (probe, limit)
    assert found.changes == {"is_paused": False, "description": found.changes["description"]} | changes
    note = read_note(str(found.changes["description"]))
    assert note is not None
    assert note.former_limit == ("none" if limit is None else str(limit))


@pytest.mark.parametrize("probes", [Tally(3, 0), Tally(3, 3)])
@pytest.mark.parametrize(
    ("former", "now", "changes"),
    [(10, 1, {LIMIT: 10}), (None, 1, {LIMIT: None}), (10, 7, {}), (10, None, {}), (1, 1, {})],
)
def test_the_former_limit_comes_back_unless_a_person_set_another(
    probes: Tally, former: int | None, now: int | None, changes: dict[str, int | None]
) -> None:
    found = turn(circuit(HALF_OPEN, former_limit=former), of={"limit": now}, probes=probes)
    assert {name: value for name, value in found.changes.items() if name == LIMIT} == changes
    assert found.circuit is not None
    assert (found.circuit.former_limit, found.circuit.probe_limit) == (None, None)


def test_a_limit_that_a_person_set_while_it_was_paused_is_the_one_that_comes_back() -> None:
    found = turn(circuit(OPEN, **OVER), of={"limit": 4})
    assert found.circuit is not None
    assert found.circuit.former_limit == 4


def test_each_failed_trial_prolongs_the_pause_of_the_same_lease() -> None:
    after = turn(circuit(HALF_OPEN, reopened=1), probes=Tally(3, 3)).circuit
    assert after is not None
    assert after.until is not None
    assert (after.reopened, after.lease) == (2, circuit().lease)
    assert timedelta(minutes=40) <= after.until - NOW <= timedelta(minutes=44)


def test_a_wish_prolongs_no_later_pause() -> None:
    after = turn(circuit(HALF_OPEN, reopened=1), wish=Wish.OPEN).circuit
    assert after is not None
    assert after.reopened == 1


def test_a_later_pause_has_a_lease_of_its_own_and_goes_on_counting_steps() -> None:
    after = turn(circuit(CLOSED, step=8), blame="its runs fail").circuit
    assert after is not None
    assert after.step == 9
    assert after.lease != circuit().lease


def test_two_runs_that_decide_the_same_pause_make_different_leases() -> None:
    one, other = (next_turn(case(blame="its runs fail"), rules(by=by)).circuit for by in ("run-1", "run-2"))
    assert one is not None
    assert other is not None
    assert one.step == other.step
    assert one.lease != other.lease


def test_a_deployment_tries_without_a_limit() -> None:
    before = circuit(OPEN, of=deployment_target(), **OVER)
    found = next_turn(case(before, gate=noted(before, limit=None)), rules())
    assert found.circuit is not None
    assert found.circuit.probe_limit is None
    assert set(found.changes) == {"is_paused", "description"}


def test_no_reason_is_too_long_for_its_note() -> None:
    found = turn(blame="x" * 1000)
    assert len(found.reason) == LONGEST_REASON
    assert len(str(found.changes["description"])) < 2 * LONGEST_REASON


def test_the_story_keeps_the_last_turns() -> None:
    its: Circuit = circuit(OPEN)
    for number in range(TURNS_KEPT + 3):
        its = its.turned(OPEN, NOW, str(number))
    assert [each.reason for each in its.story] == [str(number) for number in range(3, TURNS_KEPT + 3)]


def test_what_had_no_description_has_none_again() -> None:
    paused = next_turn(case(gate=gate(description=None), blame="its runs fail"), rules())
    assert paused.circuit is not None
    now = gate(is_paused=False, description=str(paused.changes["description"]))
    assert next_turn(Case(now, paused.circuit), rules()).changes == {"description": None}


def test_a_trial_counts_from_the_beginning_of_the_second_in_which_it_begins() -> None:
    turned = next_turn(case(circuit(until=ago(seconds=1))), rules()).circuit
    assert turned is not None
    assert (turned.phase, turned.since) == (Phase.HALF_OPEN, NOW - timedelta(seconds=1))


@pytest.mark.parametrize(("resumed_at", "since"), [(ago(seconds=20), ago(seconds=20)), (None, NOW)])
def test_after_a_person_resumed_it_runs_count_from_that_moment_where_it_is_known(
    resumed_at: datetime | None, since: datetime
) -> None:
    there = case(circuit(), gate=noted(circuit(), is_paused=False, resumed_at=resumed_at))
    turned = next_turn(there, rules()).circuit
    assert turned is not None
    assert (turned.phase, turned.since) == (Phase.CLOSED, since)

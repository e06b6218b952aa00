from dataclasses import replace
from typing import Any

import pytest

from flows.policy.circuit import Circuit, Gate, Phase
from flows.policy.lease import with_note
from flows.policy.settling import Settled, settle
from tests.builders import NOW
from tests.circuits import LEASE, circuit, gate, noted

OPEN, HALF_OPEN, CLOSED = Phase.OPEN, Phase.HALF_OPEN, Phase.CLOSED
OPENED, TRIED, ENDED = circuit(OPEN), circuit(HALF_OPEN), circuit(CLOSED)
REOPENED = circuit(OPEN, step=3, reopened=1)
OPENED_ANEW = circuit(OPEN, step=4, lease="9876fedc")
TURNS = [
    (None, OPENED), (OPENED, TRIED), (TRIED, ENDED), (TRIED, REOPENED), (OPENED, circuit(CLOSED, step=2)),
    (ENDED, OPENED_ANEW),
]  # fmt: skip


def left_by(its: Circuit | None) -> Gate:
    return gate() if its is None else noted(its)


def unmarked(its: Circuit) -> Circuit:
    return its.model_copy(update={"applied": False})


def steps(*kept: Circuit | None) -> tuple[int, ...]:
    return tuple(each.step for each in kept if each is not None)


@pytest.mark.parametrize(("before", "after"), TURNS)
def test_dying_after_the_record_leaves_the_turn_before_in_force(before: Circuit | None, after: Circuit) -> None:
    kept = [each for each in (before, unmarked(after)) if each is not None]
    assert settle(kept, left_by(before), NOW) == Settled(before, abandoned=after.step)


@pytest.mark.parametrize(("before", "after"), TURNS)
def test_dying_after_the_write_on_the_pool_leaves_a_turn_to_mark(before: Circuit | None, after: Circuit) -> None:
    kept = [each for each in (before, unmarked(after)) if each is not None]
    assert settle(kept, left_by(after), NOW) == Settled(after, is_repaired=True, outdated=steps(before))


@pytest.mark.parametrize(("before", "after"), TURNS)
def test_dying_after_the_mark_leaves_records_to_forget(before: Circuit | None, after: Circuit) -> None:
    kept = [each for each in (before, after) if each is not None]
    assert settle(kept, left_by(after), NOW) == Settled(after, outdated=steps(before))


@pytest.mark.parametrize(("before", "after"), TURNS)
def test_a_turn_that_ended_well_counts(before: Circuit | None, after: Circuit) -> None:
    assert before is None or before.step < after.step
    assert settle([after], left_by(after), NOW) == Settled(after)


def test_two_that_died_one_after_the_other_leave_the_first_turn_in_force() -> None:
    kept = [unmarked(ENDED), OPENED, unmarked(TRIED)]
    assert settle(kept, left_by(TRIED), NOW) == Settled(unmarked(TRIED), abandoned=3, outdated=(1,))


def test_nothing_kept_and_no_note_is_nothing() -> None:
    assert settle([], gate(is_paused=True), NOW) == Settled()


def test_a_note_without_a_record_is_taken_on_with_its_lease_at_an_end() -> None:
    found = settle([], noted(circuit(OPEN, step=7)), NOW)
    its = found.circuit
    assert its is not None
    assert (its.phase, its.lease, its.step, its.until, its.applied) == (OPEN, LEASE, 7, NOW, True)
    assert (found.abandoned, found.outdated, found.is_repaired) == (None, (), False)


@pytest.mark.parametrize("former", [None, 10])
def test_a_trials_note_without_a_record_still_knows_the_former_limit(former: int | None) -> None:
    its = settle([], noted(circuit(HALF_OPEN, former_limit=former)), NOW).circuit
    assert its is not None
    assert (its.phase, its.former_limit, its.probe_limit) == (HALF_OPEN, former, 1)


@pytest.mark.parametrize(
    "changed", [{"is_paused": False}, {"limit": 3}, {"description": None}, {"is_taken_over": True}]
)
def test_a_marked_turn_counts_whatever_a_person_did_since(changed: dict[str, Any]) -> None:
    assert settle([OPENED], noted(OPENED, **changed), NOW) == Settled(OPENED)


def test_what_a_person_did_since_does_not_hide_that_a_turn_took_effect() -> None:
    for changed in ({"is_paused": False}, {"limit": 3}):
        assert settle([unmarked(OPENED)], noted(OPENED, **changed), NOW).is_repaired
        assert settle([OPENED, unmarked(TRIED)], noted(TRIED, **changed), NOW).is_repaired


def test_a_note_of_another_lease_is_no_effect_of_this_one() -> None:
    other = with_note("Nightly loads", "why", "ffff0000.1")
    assert settle([unmarked(OPENED)], replace(noted(OPENED), description=other), NOW) == Settled(abandoned=1)


def test_a_closing_with_the_limit_still_at_the_probe_limit_did_not_take_effect() -> None:
    erased = noted(TRIED, description="Nightly loads")
    assert settle([TRIED, unmarked(ENDED)], erased, NOW) == Settled(TRIED, abandoned=3)

from datetime import datetime, timedelta
from typing import Any

import pytest

from flows.policy.breaker import next_turn
from flows.policy.case import Case
from flows.policy.circuit import Phase
from flows.policy.failure_threshold import Tally
from flows.policy.suspicion import Look, first_look, next_look
from flows.policy.watched import Decided, Watched
from tests.builders import NOW, ago, coming
from tests.circuits import circuit, rules, watched


def booked(seen: Watched, blame: str = "", *, is_sweep: bool = False) -> Look | None:
    case = Case(seen.gate, seen.settled.circuit, blame=blame, tally=seen.tally, probes=seen.probes)
    return next_look(Decided(seen, next_turn(case, rules()), rules()), NOW, is_sweep=is_sweep)


def look(seen: Watched, blame: str = "") -> datetime | None:
    found = booked(seen, blame)
    return found and found.at


def suspicious(**changed: Any) -> Watched:
    """Three of three runs failed, the last one a moment ago."""
    return watched(**{"failed": 3, "last_failed_at": ago(seconds=5), "tally": Tally(3, 3), **changed})


def test_looks_again_soon_where_too_few_runs_ended_and_they_fail() -> None:
    assert look(suspicious()) == coming(seconds=30)


@pytest.mark.parametrize(
    ("tally", "is_soon"),
    [
        (Tally(2, 2), True), (Tally(1, 1), False), (Tally(4, 2), True), (Tally(5, 2), False), (Tally(9, 9), True),
        (Tally(10, 4), False), (Tally(0, 0), False), (None, False),
    ],
)  # fmt: skip
def test_looks_again_only_at_what_would_be_failing_had_more_runs_ended(tally: Tally | None, *, is_soon: bool) -> None:
    assert (look(suspicious(tally=tally)) is not None) is is_soon


@pytest.mark.parametrize(("last", "is_soon"), [(ago(seconds=90), True), (ago(seconds=91), False), (None, False)])
def test_looks_again_only_while_failures_keep_coming(last: datetime | None, *, is_soon: bool) -> None:
    assert (look(suspicious(last_failed_at=last)) is not None) is is_soon


def test_what_is_done_needs_no_other_look() -> None:
    assert look(suspicious(tally=Tally(10, 10)), blame="10 of 10 runs failed") is None


def test_what_is_well_needs_no_other_look() -> None:
    assert look(watched(tally=Tally(50, 0))) is None


@pytest.mark.parametrize("is_sweep", [True, False])
def test_every_look_sees_to_it_that_the_end_of_a_pause_is_booked(*, is_sweep: bool) -> None:
    its = circuit(until=coming(minutes=5))
    assert booked(watched(its), is_sweep=is_sweep) == first_look(its) == Look(coming(minutes=5, seconds=2), its.tag)


def test_a_look_that_comes_a_moment_before_the_end_of_a_pause_is_booked_again() -> None:
    its = circuit(until=coming(seconds=1))
    again = booked(watched(its))
    assert again == Look(coming(seconds=3), f"{its.tag} again")
    assert again != first_look(its)


def test_a_sweep_books_nothing_else() -> None:
    assert booked(suspicious(), is_sweep=True) is None
    assert booked(watched(circuit(Phase.HALF_OPEN)), is_sweep=True) is None
    assert booked(watched(circuit(until=None, forced=True)), is_sweep=True) is None


@pytest.mark.parametrize(
    ("since", "after"),
    [(0, 1), (0.5, 1), (1, 1), (3, 3), (9.9, 9.9), (10, None), (600, None)],
)
def test_each_look_at_a_trial_comes_after_as_long_again(since: float, after: float | None) -> None:
    its = circuit(Phase.HALF_OPEN, since=ago(minutes=since))
    assert look(watched(its)) == (None if after is None else NOW + timedelta(minutes=after))

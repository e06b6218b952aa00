from datetime import datetime, timedelta
from typing import Any

import pytest

from flows.policy.breaker import next_turn
from flows.policy.case import Case
from flows.policy.circuit import Phase
from flows.policy.failure_threshold import Tally
from flows.policy.suspicion import next_look
from flows.policy.watched import Decided, Watched
from tests.builders import NOW, ago, coming
from tests.circuits import circuit, rules, watched


def look(seen: Watched, blame: str = "") -> datetime | None:
    case = Case(seen.gate, seen.settled.circuit, blame=blame, tally=seen.tally, probes=seen.probes)
    return next_look(Decided(seen, next_turn(case, rules()), rules()), NOW)


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
    assert look(watched(circuit())) is None


@pytest.mark.parametrize(
    ("since", "after"),
    [(0, 1), (0.5, 1), (1, 1), (3, 3), (9.9, 9.9), (10, None), (600, None)],
)
def test_each_look_at_a_trial_comes_after_as_long_again(since: float, after: float | None) -> None:
    its = circuit(Phase.HALF_OPEN, since=ago(minutes=since))
    assert look(watched(its)) == (None if after is None else NOW + timedelta(minutes=after))

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.cleanup.ages import AGES, SAID, age_of, told_age
from flows.policy.cleanup.finished_runs import FinishedFacts, decide_finished_runs
from flows.policy.cleanup.kinds import KINDS, CleanupKind, verdict
from flows.policy.plan import Outcome, Result, Verb
from flows.report.cleanup_picture import LONGEST_BAR, cleanup_picture
from tests.builders import ago
from tests.cleanup import finished, scope, target
from tests.report.test_fleet_picture import bars, drawn, words


def outcomes(kind: CleanupKind, number: int = 1, result: Result = Result.PLANNED, **numbers: float) -> list[Outcome]:
    """So many actions of a kind that became this; `numbers` say how old their targets are."""
    return [
        Outcome(verdict(kind, Verb.DELETE, target(f"{kind}-{each}"), "why", **numbers), result)
        for each in range(number)
    ]


def test_nothing_to_clear_away_is_no_picture() -> None:
    assert cleanup_picture([]) == ""
    assert cleanup_picture(outcomes("idle-pools", result=Result.REFUSED)) == ""


def test_it_counts_by_kind_and_age_and_says_so_in_words() -> None:
    html = cleanup_picture(
        [
            *outcomes("stuck-runs", 3, minutes_in_state=90.5),
            *outcomes("offline-workers", 2, silent_hours=24 * 8),
            *outcomes("finished-runs", 4, ended_days=100),
            *outcomes("idle-pools", 1),
        ]
    )
    alternative, _ = drawn(html)
    assert alternative == (
        "To be cleared away, by kind and age: stuck runs: 3 under 1 d; offline workers: 2 7 to 30 d; "
        "finished runs: 4 over 90 d; idle pools: 1 no age"
    )
    assert [text for text in words(html) if text.isdigit()] == ["3", "2", "4", "1"]


def test_the_longest_bar_is_that_of_the_most() -> None:
    html = cleanup_picture([*outcomes("finished-runs", 20, ended_days=40), *outcomes("stuck-runs", 10)])
    assert bars(html, "within") == [LONGEST_BAR, LONGEST_BAR / 2]


def test_once_it_was_carried_out_only_what_was_done_is_drawn() -> None:
    html = cleanup_picture(
        [*outcomes("finished-runs", 2, Result.DONE, ended_days=40), *outcomes("stuck-runs", 1, Result.FAILED)]
    )
    assert words(html)[0] == "Cleared away, by kind and age"
    assert "stuck runs" not in words(html)


def test_a_finished_runs_age_is_that_of_its_end() -> None:
    found = decide_finished_runs(FinishedFacts((finished(ended_at=ago(days=40, hours=1)),)), scope()).verdicts
    assert [age_of(each) for each in found] == [timedelta(days=40)]


@pytest.mark.parametrize(
    ("days", "told"),
    [(0, 0), (0.99, 0), (1, 1), (6.9, 1), (7, 2), (30, 3), (89, 3), (90, 4), (4000, 4)],
)
def test_ages_are_told_from_one_bound_to_the_next(days: float, told: int) -> None:
    assert told_age(outcomes("offline-workers", silent_hours=days * 24)[0].verdict) == AGES[told]


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(1, 30), st.sampled_from([*SAID, ""]), st.integers(0, 10**6)),
        max_size=8,
    )
)
def test_every_action_is_in_one_cell(actions: list[tuple[CleanupKind, int, str, int]]) -> None:
    every = [
        each for kind, number, said, age in actions for each in outcomes(kind, number, **({said: age} if said else {}))
    ]
    html = cleanup_picture(every)
    counted = sum(int(text) for text in words(html) if text.isdigit()) if html else 0
    assert counted == len(every)
    assert all(0 < width <= LONGEST_BAR for width in (bars(html, "within") if html else []))

"""What the benchmarks make of their measurements: turns, medians, equal answers, bars."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.benchmarks.__main__ import between_the_minutes
from tests.benchmarks.bars import bars, verdicts
from tests.benchmarks.fleet import SIZES
from tests.benchmarks.inventory import JOB as INVENTORY
from tests.benchmarks.measure import OURS, Measurement, Way, median, problems, turns
from tests.benchmarks.preview import rows_of_the_fill

ONE = Measurement(requests=600, seconds=2, peak_mb=100, import_mb=80, totals={"pools": 200})


def took(seconds: float, **changed: object) -> Measurement:
    return replace(ONE, seconds=seconds, **changed)  # type: ignore[arg-type]


def way(name: str, *, most_rounds: int | None = None, comes_last: bool = False) -> Way:
    return Way(name, lambda _: ONE, most_rounds, comes_last)


def test_ways_go_in_turn_and_each_begins_a_round() -> None:
    ways = [way("a"), way("b"), way("c", most_rounds=1), way("d", comes_last=True)]
    assert "".join(each.name for each in turns(ways, 3)) == "abcbaabddd"


def test_a_median_is_of_the_seconds_and_keeps_the_highest_peak() -> None:
    rounds = [took(3, peak_mb=90, parts={"observe": 1.0}), took(1, parts={"observe": 3.0}), took(9, peak_mb=140)]
    rounds[2] = replace(rounds[2], parts={"observe": 2.0})  # type: ignore[arg-type]
    summary = median(rounds)
    assert summary is not None
    assert (summary.seconds, summary.mb_above_import, summary.parts) == (3, 60, {"observe": 2.0})


@pytest.mark.parametrize("rounds", [[], [None], [ONE, None, ONE]])
def test_there_is_no_median_where_a_round_failed(rounds: list[Measurement | None]) -> None:
    assert median(rounds) is None


def test_equal_answers_are_no_problem_and_one_without_an_answer_is_not_asked() -> None:
    assert problems("inventory", {OURS: [ONE, ONE], "client": [ONE], "floor": [took(1, totals={})]}) == []


def test_another_answer_in_any_round_and_a_failure_are_problems() -> None:
    found = problems("inventory", {OURS: [ONE, took(1, totals={"pools": 199})], "client": [ONE], "cli": [None]})
    assert [each.partition(":")[0] for each in found] == ["inventory, cli", "inventory, poolkeeper"]


def results(**seconds: float) -> dict[str, dict[str, Measurement | None]]:
    return {"inventory": {name: took(each) for name, each in seconds.items()}}


def test_a_bar_is_judged_by_the_medians_of_its_size() -> None:
    measured = {"M": results(poolkeeper=2, floor=1.7, client=13, cli=220)}
    found = {each.words: (each.number, each.is_reached) for each in verdicts(measured, is_postgres=False)}
    assert found == {
        "poolkeeper / floor": (2 / 1.7, True),
        "client / poolkeeper": (6.5, False),
        "cli / poolkeeper": (110, True),
        "requests a work pool": (3.0, True),
        "most MB above import prefect": (20, True),
    }


def test_a_bar_is_only_told_at_a_size_that_it_is_not_for() -> None:
    (told,) = (
        each for each in verdicts({"S": results(poolkeeper=2, floor=1)}, is_postgres=False) if "floor" in each.words
    )
    assert (told.number, told.is_reached, told.row[-1]) == (2, None, "not judged at this size")


def test_a_way_that_failed_or_was_not_measured_has_no_verdict() -> None:
    failed: dict[str, dict[str, Measurement | None]] = {"inventory": {OURS: ONE, "floor": None}}
    assert [each.words for each in verdicts({"M": failed}, is_postgres=False)] == [
        "requests a work pool",
        "most MB above import prefect",
    ]


@pytest.mark.parametrize(("job", "lite", "postgres"), [("cleanup", 5, 9), ("cancel", 1.4, 2.2)])
def test_a_bar_for_writing_depends_on_the_database(job: str, lite: float, postgres: float) -> None:
    for is_postgres, expected in ((False, lite), (True, postgres)):
        (bar,) = (each for each in bars(is_postgres=is_postgres) if each.job == job)
        assert bar.is_reached(expected)
        assert not bar.is_reached(expected - 0.01)


@pytest.mark.parametrize(("seconds", "is_linear"), [(1.0, True), (10.9, True), (11.1, False)])
def test_the_cost_of_a_work_pool_may_not_grow_with_the_fleet(seconds: float, is_linear: bool) -> None:
    measured = {"S": results(poolkeeper=1), "M": results(poolkeeper=seconds)}
    (growth,) = (each for each in verdicts(measured, is_postgres=False) if "times those of" in each.words)
    assert (growth.size, growth.is_reached) == ("M", is_linear)


def test_the_fill_is_even_and_begins_between_two_dates() -> None:
    assert INVENTORY.runs_in_window(SIZES["S"]) == pytest.approx(5_000 / 30)
    assert rows_of_the_fill(SIZES["S"]) == 200 * 24 + 28
    assert between_the_minutes(datetime(2024, 1, 1, tzinfo=UTC)) == datetime(2023, 12, 31, 23, 59, 30, tzinfo=UTC)

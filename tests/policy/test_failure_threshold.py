from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.policy.failure_threshold import FailureThreshold

thresholds = st.builds(
    FailureThreshold,
    failure_rate=st.integers(1, 100).map(lambda percent: percent / 100),
    minimum_runs=st.integers(1, 20),
)
counts = st.integers(0, 200).flatmap(lambda finished: st.tuples(st.just(finished), st.integers(0, finished)))


def test_half_of_ten_runs_is_failing() -> None:
    judgement = FailureThreshold().judge(finished=10, failed=5)
    assert judgement.is_failing
    assert judgement.is_enough
    assert judgement.words == "5 of 10 runs failed (50%, threshold 50%)"


def test_just_under_the_rate_is_not_failing() -> None:
    judgement = FailureThreshold().judge(finished=11, failed=5)
    assert judgement.is_enough
    assert not judgement.is_failing


def test_too_few_runs_is_an_answer_of_its_own() -> None:
    judgement = FailureThreshold().judge(finished=9, failed=9)
    assert not judgement.is_failing
    assert not judgement.is_enough
    assert judgement.words == "9 runs ended, too few to judge (at least 10)"


@given(thresholds, counts)
def test_failing_needs_enough_runs(threshold: FailureThreshold, counted: tuple[int, int]) -> None:
    finished, failed = counted
    judgement = threshold.judge(finished=finished, failed=failed)
    assert judgement.is_enough is (finished >= threshold.minimum_runs)
    assert judgement.is_enough or not judgement.is_failing


@given(thresholds, counts)
def test_one_more_failure_never_makes_it_well(threshold: FailureThreshold, counted: tuple[int, int]) -> None:
    finished, failed = counted
    before = threshold.judge(finished=finished, failed=failed).is_failing
    assert threshold.judge(finished=finished + 1, failed=failed + 1).is_failing or not before


@pytest.mark.parametrize("percent", range(1, 101))
def test_exactly_at_the_rate_is_failing(percent: int) -> None:
    threshold = FailureThreshold(failure_rate=percent / 100, minimum_runs=1)
    assert threshold.judge(finished=100, failed=percent).is_failing
    assert not threshold.judge(finished=100, failed=percent - 1).is_failing


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_rate": 0}, {"failure_rate": 1.1}, {"failure_rate": -0.5}, {"minimum_runs": 0}, {"window_minutes": 0},
        {"minimum_runs": "many"}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        FailureThreshold(**wrong)


def test_numbers_and_switches_may_come_as_strings() -> None:
    found = FailureThreshold.model_validate({"minimum_runs": "3", "failure_rate": "0.25", "count_crashed": "false"})
    assert found == FailureThreshold(minimum_runs=3, failure_rate=0.25, count_crashed=False)


@given(thresholds, counts)
def test_with_fewer_than_the_fewest_failures_nothing_is_failing(
    threshold: FailureThreshold, counted: tuple[int, int]
) -> None:
    finished, failed = counted
    if threshold.judge(finished=finished, failed=failed).is_failing:
        assert failed >= threshold.fewest_failures

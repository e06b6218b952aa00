from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.durations import Duration, estimate

lengths = st.timedeltas(timedelta(), timedelta(days=40))
some_past = st.lists(lengths, min_size=1, max_size=40)


def of(past: list[timedelta]) -> Duration:
    known = estimate(past)
    assert known is not None
    return known


def minutes(*lengths: float) -> list[timedelta]:
    return [timedelta(minutes=each) for each in lengths]


def test_where_there_are_no_past_runs_nothing_is_made_up() -> None:
    assert estimate([]) is None


@given(lengths)
def test_a_single_run_is_all_there_is_to_judge_from(length: timedelta) -> None:
    assert estimate([length]) == Duration(median=length, high=length, runs=1)


def test_the_median_is_in_the_middle_and_nine_of_ten_are_done_by_the_high() -> None:
    assert of(minutes(3, 1, 2)) == Duration(*minutes(2, 3), runs=3)
    assert of(minutes(1, 2, 3, 40)) == Duration(*minutes(2.5, 40), runs=4)
    assert of(minutes(*range(1, 11))) == Duration(*minutes(5.5, 9), runs=10)
    assert of(minutes(*range(1, 21))) == Duration(*minutes(10.5, 18), runs=20)


def test_one_run_of_ten_that_took_for_ever_does_not_count() -> None:
    assert of(minutes(*[1] * 9, 600)).high == timedelta(minutes=1)
    assert of(minutes(*[1] * 8, 600, 600)).high == timedelta(minutes=600)


@given(some_past)
def test_an_estimate_lies_among_what_was_seen(past: list[timedelta]) -> None:
    known = of(past)
    assert min(past) <= known.median <= known.high <= max(past)
    assert known.high in past
    assert known.runs == len(past)


@given(some_past)
def test_half_took_no_longer_than_the_median_and_half_no_shorter(past: list[timedelta]) -> None:
    known = of(past)
    assert 2 * sum(each <= known.median for each in past) >= len(past)
    assert 2 * sum(each >= known.median for each in past) >= len(past)


@given(some_past)
def test_the_high_is_the_shortest_by_which_nine_of_ten_were_done(past: list[timedelta]) -> None:
    known = of(past)
    assert 10 * sum(each <= known.high for each in past) >= 9 * len(past)
    assert 10 * sum(each < known.high for each in past) < 9 * len(past)


@given(some_past.flatmap(lambda past: st.tuples(st.just(past), st.permutations(past))))
def test_it_does_not_matter_which_run_was_the_latest(pasts: tuple[list[timedelta], list[timedelta]]) -> None:
    assert estimate(pasts[0]) == estimate(pasts[1])

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.load import HOUR, Span, peaks, quiet, steps, stretches
from tests.builders import NOW

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Africa/Cairo",
    "America/Havana",
    "Pacific/Chatham",
]
HOURS = st.integers(1, 744)
# A year around, so that clocks change in it; half of the moments are close to a change in Berlin and in New York.
CHANGES = [
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
]
near_a_change = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes), st.sampled_from(CHANGES), st.integers(-900, 900)
)
moments = near_a_change | st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def some_spans(draw: st.DrawFn) -> list[Span]:
    """Spans from full second to full second, some without an end."""
    begins = draw(st.lists(st.integers(0, 20), max_size=8))
    return [(begin, draw(st.integers(begin + 1, 30) | st.just(inf))) for begin in begins]


def in_use(spans: list[Span], at: float) -> int:
    return sum(begin <= at < end for begin, end in spans)


# How many slots are in use.


def test_the_number_in_use_changes_where_a_slot_is_taken_and_where_it_is_given_back() -> None:
    assert steps([]) == []
    assert steps([(0, 10), (5, 20)]) == [(0, 1), (5, 2), (10, 1), (20, 0)]
    assert steps([(0, 10), (0, 10)]) == [(0, 2), (10, 0)]
    assert steps([(0, inf)])[0] == (0, 1)


def test_one_slot_that_is_given_on_at_once_is_never_two() -> None:
    assert max(used for _, used in steps([(0, 10), (10, 20), (20, 30)])) == 1
    assert peaks([(0, 10), (10, 20)], (0, 30)) == (1,)


@given(some_spans())
def test_the_steps_tell_the_number_in_use_at_any_time(spans: list[Span]) -> None:
    found = steps(spans)
    assert [at for at, _ in found] == sorted({at for at, _ in found})
    for second in range(31):
        before = [used for at, used in found if at <= second]
        assert (before[-1] if before else 0) == in_use(spans, second)


@given(some_spans(), st.sets(st.integers(0, 30), min_size=2).map(sorted))
def test_a_peak_is_the_most_that_is_in_use_at_any_time_of_its_stretch(spans: list[Span], edges: list[int]) -> None:
    assert peaks(spans, edges) == tuple(
        max(in_use(spans, second) for second in range(begin, end)) for begin, end in pairwise(edges)
    )


def test_a_slot_that_is_taken_at_the_end_of_a_stretch_counts_in_the_next() -> None:
    assert peaks([(10, 20)], (0, 10, 20, 30)) == (0, 1, 0)
    assert peaks([(9, 11)], (0, 10, 20)) == (1, 1)
    assert peaks([(-5, 5)], (0, 10)) == (1,)
    assert peaks([(0, inf)], (0, 10, 20)) == (1, 1)
    assert peaks([], (0, 10, 20)) == (0, 0)


# When none is.


def test_it_is_quiet_where_no_slot_is_in_use_for_long_enough() -> None:
    assert quiet([(10, 20), (15, 25)], until=100, shortest=5) == ((25, 100), (0, 10))
    assert quiet([(10, 20), (15, 25)], until=100, shortest=11) == ((25, 100),)
    assert quiet([], until=100, shortest=5) == ((0, 100),)
    assert quiet([], until=100, shortest=101) == ()
    assert quiet([(0, inf)], until=100, shortest=5) == ()


def test_what_comes_after_the_end_makes_no_difference() -> None:
    assert quiet([(200, 300)], until=100, shortest=5) == ((0, 100),)
    assert quiet([(50, 150), (200, 300)], until=100, shortest=5) == ((0, 50),)


def test_equally_long_quiet_times_are_told_in_their_order() -> None:
    assert quiet([(10, 20), (30, 40)], until=50, shortest=10) == ((0, 10), (20, 30), (40, 50))


@given(some_spans(), st.integers(1, 30), st.integers(1, 10))
def test_quiet_times_are_exactly_the_seconds_in_which_no_slot_is_in_use(
    spans: list[Span], until: int, shortest: int
) -> None:
    found: list[list[int]] = []
    for second in range(until):
        if in_use(spans, second):
            continue
        if found and found[-1][1] == second:
            found[-1][1] = second + 1
        else:
            found.append([second, second + 1])
    expected = [(begin, end) for begin, end in found if end - begin >= shortest]
    assert quiet(spans, until, shortest) == tuple(sorted(expected, key=lambda span: (span[0] - span[1], span[0])))


# Between which instants load is told.


@given(moments, HOURS, st.sampled_from(ZONES))
def test_the_stretches_cover_all_the_time_asked_for_and_nothing_else(now: datetime, hours: int, zone: str) -> None:
    found = stretches(now, hours, ZoneInfo(zone))
    assert found[0] == now
    assert found[-1] == now + timedelta(hours=hours)
    assert all(begin < end for begin, end in pairwise(found))


@given(moments, HOURS, st.sampled_from(ZONES))
def test_stretches_begin_at_full_hours_of_the_local_clocks(now: datetime, hours: int, zone: str) -> None:
    for edge in stretches(now, hours, ZoneInfo(zone))[1:-1]:
        local = edge.astimezone(ZoneInfo(zone))
        assert (local.minute, local.second, local.microsecond) == (0, 0, 0)


@given(moments, HOURS, st.sampled_from(ZONES))
def test_all_stretches_but_the_first_and_the_last_are_equally_long_and_they_are_never_too_many_to_see(
    now: datetime, hours: int, zone: str
) -> None:
    found = stretches(now, hours, ZoneInfo(zone))
    length = HOUR if hours <= 72 else 3 * HOUR if hours <= 216 else 12 * HOUR
    lengths = [end - begin for begin, end in pairwise(found)]
    assert set(lengths[1:-1]) <= {length}
    assert max(lengths) <= length
    assert len(lengths) <= 74


def test_a_preview_that_begins_at_a_full_hour_has_no_empty_stretch() -> None:
    assert stretches(NOW, 2, ZoneInfo("UTC")) == (NOW, NOW + HOUR, NOW + 2 * HOUR)
    assert stretches(NOW, 1, ZoneInfo("UTC")) == (NOW, NOW + HOUR)


def test_a_preview_that_begins_where_the_clocks_were_turned_back_has_no_empty_stretch() -> None:
    turned_back = datetime(2026, 10, 25, 1, tzinfo=UTC)
    found = stretches(turned_back, 73, ZoneInfo("Europe/Berlin"))
    assert found[:2] == (turned_back, turned_back + 3 * HOUR)


def test_full_hours_of_a_zone_half_an_hour_beside_are_its_own() -> None:
    half = timedelta(minutes=30)
    assert stretches(NOW, 2, ZoneInfo("Asia/Kolkata")) == (NOW, NOW + half, NOW + half + HOUR, NOW + 2 * HOUR)


@pytest.mark.parametrize(
    ("hours", "local"),
    [(72, list(range(24))), (73, list(range(0, 24, 3))), (216, list(range(0, 24, 3))), (217, [0, 12])],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Asia/Tokyo"])
def test_longer_stretches_divide_the_local_day(hours: int, local: list[int], zone: str) -> None:
    inside = stretches(NOW, hours, ZoneInfo(zone))[1:-1]
    assert sorted({edge.astimezone(ZoneInfo(zone)).hour for edge in inside}) == local


@pytest.mark.parametrize(
    ("zone", "change", "shown"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 0, 30, tzinfo=UTC), [3, 4, 5]),
        ("Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), [2, 3, 4]),
        ("America/New_York", datetime(2026, 3, 8, 6, 30, tzinfo=UTC), [3, 4, 5]),
        ("America/New_York", datetime(2026, 11, 1, 5, 30, tzinfo=UTC), [1, 2, 3]),
    ],
)
def test_hours_that_the_clocks_skip_are_skipped_and_those_shown_twice_come_twice(
    zone: str, change: datetime, shown: list[int]
) -> None:
    inside = stretches(change, 3, ZoneInfo(zone))[1:-1]
    assert [edge.astimezone(ZoneInfo(zone)).hour for edge in inside] == shown
    assert [edge - change for edge in inside] == [timedelta(minutes=30) + number * HOUR for number in range(3)]

"""Schedules worked out ahead: the same dates as Prefect's own scheduler finds."""

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.prefect_api.schedules import UnreadableSchedule, expand, read_schedule

Described = dict[str, Any]
Dates = tuple[datetime, ...]

FORTNIGHT = timedelta(days=14)
MONTH = timedelta(days=31)
HOUR = timedelta(hours=1)
# Prefect gives up after about a thousand dates, counting those that it leaves out because the clocks show them twice.
COMPARED = 900
COMPARED_AT_RANDOM = 600
# Clocks that change by one hour, by half an hour, by two hours, at midnight, in the south, in winter, and not at all.
ZONES = [
    "Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo",
    "America/Sao_Paulo", "America/Havana", "America/Santiago", "Antarctica/Troll", "Pacific/Chatham", "Europe/Dublin",
]  # fmt: skip
WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def cron(expression: str, timezone: str | None = "Europe/Berlin", **more: Any) -> Described:
    return {"cron": expression, "timezone": timezone, **more}


def interval(seconds: float, anchor: str = "2026-01-01T00:00:00+00:00", timezone: str = "Europe/Berlin") -> Described:
    return {"interval": seconds, "anchor_date": anchor, "timezone": timezone}


def rule(text: str, timezone: str = "Europe/Berlin") -> Described:
    return {"rrule": text, "timezone": timezone}


def prefects(described: Described, start: datetime, end: datetime, most: int) -> Dates:
    """The first dates that Prefect's scheduler finds.

    It compares the end by what the clocks show, so it is asked for a day more.
    """
    found = read_schedule(described)._get_dates_generator(start=start, end=end + timedelta(days=1))
    instants = sorted(datetime.fromtimestamp(each.timestamp(), UTC) for each in found)
    return tuple(each for each in instants if start <= each <= end)[:most]


def expanded(described: Described, start: datetime, end: datetime, most: int) -> Dates:
    return expand(described, start, end, listed=most, counted=0).listed


def outcome(of: Callable[..., Dates], *arguments: Any) -> Dates | None:
    """The dates; None where there is no telling them."""
    try:
        return of(*arguments)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


@cache
def changes(timezone: str) -> list[datetime]:
    """When the clocks of a zone change, in the years that are looked at."""
    zone = ZoneInfo(timezone)
    hours = [utc(2026, 1, 1) + number * HOUR for number in range(2 * 365 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after]


def comes_twice(at: datetime, timezone: str) -> bool:
    """Whether the clocks show this time a second time."""
    local = at.astimezone(ZoneInfo(timezone))
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


@st.composite
def starts(draw: st.DrawFn, timezone: str | None) -> datetime:
    """Any time, or a time from which a fortnight leads over a change of the clocks, or one just beside a change."""
    offset = timedelta(
        seconds=draw(st.integers(0, 59)), microseconds=draw(st.sampled_from([0, 0, 500])),
        minutes=draw(st.integers(0, 24 * 60)), days=draw(st.integers(0, 13)),
    )  # fmt: skip
    kind = draw(st.sampled_from(["any", "before", "beside"]))
    known = changes(timezone or "UTC")
    if kind == "any" or not known:
        return utc(2026, 1, 1) + draw(st.integers(0, 22)) * timedelta(days=31) + offset
    change = draw(st.sampled_from(known))
    return change - offset if kind == "before" else change + 3 * HOUR - offset % (6 * HOUR)


def fields(low: int, high: int, *special: str) -> st.SearchStrategy[str]:
    """What can stand in one field of a cron expression."""
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    lists = st.lists(number.map(str), min_size=1, max_size=3).map(",".join)
    steps = st.integers(1, (high - low) // 2 + 1).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), steps, ranges, lists, *(st.just(each) for each in special))


@st.composite
def crons(draw: st.DrawFn, timezone: str | None) -> Described:
    parts = [
        draw(fields(0, 59)), draw(fields(0, 23)), draw(fields(1, 31, "L")), draw(fields(1, 12, "jan-mar")),
        draw(fields(0, 6, "sat#2", "L5", "mon-fri", "5#1")),
    ]  # fmt: skip
    parts += draw(st.sampled_from([[], [], [], ["0"], ["30"], ["15,45"]]))
    return cron(" ".join(parts), timezone, day_or=draw(st.booleans()))


@st.composite
def intervals(draw: st.DrawFn, timezone: str | None) -> Described:
    usual = [60, 300, 900, 3600, 5400, 7 * 3600, 86400, 129_600, 2 * 86400, 604_800]
    seconds = draw(st.sampled_from(usual) | st.integers(60, 200_000) | st.sampled_from([77.25, 3600.333, 61.000001]))
    anchor = utc(2026, 1, 1) + timedelta(
        seconds=draw(st.integers(-(10**9), 10**8)), microseconds=draw(st.sampled_from([0, 1, 123_456]))
    )
    return {"interval": seconds, "anchor_date": anchor.isoformat(), "timezone": timezone}


@st.composite
def rules(draw: st.DrawFn, timezone: str | None, start: datetime) -> Described:
    """Prefect walks a rule from its beginning: the more often it recurs, the later it has to begin."""
    frequency, days_back = draw(
        st.sampled_from([("MINUTELY", 3), ("HOURLY", 300), ("DAILY", 2000), ("WEEKLY", 4000), ("MONTHLY", 9000),
                         ("YEARLY", 9000)])
    )  # fmt: skip
    parts = [f"FREQ={frequency}"]

    def sometimes(name: str, values: st.SearchStrategy[Any]) -> bool:
        if chosen := draw(st.integers(0, 3)) == 0:
            parts.append(f"{name}={draw(values)}")
        return chosen

    sometimes("INTERVAL", st.integers(1, 20))
    sometimes("COUNT", st.integers(1, 3000)) or sometimes("UNTIL", st.just(f"{start + FORTNIGHT / 2:%Y%m%dT%H%M%S}"))
    last_or_any = [*WEEKDAYS, "-1FR", "2SU"] if frequency in ("MONTHLY", "YEARLY") else WEEKDAYS
    # Together they may never be true, which is found out in the year 9999.
    if not sometimes("BYDAY", st.lists(st.sampled_from(last_or_any), min_size=1, max_size=3).map(",".join)):
        frequency == "WEEKLY" or sometimes("BYMONTHDAY", st.sampled_from(["31", "-1", "29", "1,15"]))
    sometimes("BYHOUR", st.sampled_from(["2", "1,2,3", "9", "0,23"]))
    sometimes("BYMINUTE", st.sampled_from(["30", "0,30", "15"]))
    sometimes("WKST", st.sampled_from(["SU", "WE"]))
    begin = start + timedelta(minutes=draw(st.integers(-days_back * 24 * 60, 3 * 24 * 60)))
    return rule(f"DTSTART:{begin:%Y%m%dT%H%M00}\nRRULE:{';'.join(parts)}", timezone or "UTC")


@st.composite
def questions(draw: st.DrawFn) -> tuple[Described, datetime]:
    timezone = draw(st.none() | st.sampled_from(ZONES))
    start = draw(starts(timezone))
    described = draw(crons(timezone) | intervals(timezone) | rules(timezone, start))
    # Which times of the hour that comes twice an interval meets depends on when in this hour Prefect is asked.
    assume("interval" not in described or not comes_twice(start, timezone or "UTC"))
    return described, start


@settings(max_examples=300)
@given(questions())
def test_random_schedules_have_the_dates_that_prefect_finds(question: tuple[Described, datetime]) -> None:
    described, start = question
    arguments = described, start, start + FORTNIGHT, COMPARED_AT_RANDOM
    assert outcome(expanded, *arguments) == outcome(prefects, *arguments)


# A fortnight from each of these leads over the change of the clocks in New York and in Berlin.
SPRING, AUTUMN = utc(2027, 3, 14, 6, 30), utc(2027, 10, 25)
AWKWARD: dict[str, Described] = {
    "day 31": cron("0 3 31 * *"),
    "last Friday": rule("DTSTART:20200101T090000\nRRULE:FREQ=MONTHLY;BYDAY=-1FR"),
    "last working day": rule("DTSTART:20200101T090000\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"),
    "every second": cron("* * * * * *"),
    "some seconds": cron("30 2 * * * 7,8,9", "America/New_York"),
    "in a skipped hour": cron("30 2 * * *", "America/New_York"),
    "in an hour that comes twice": cron("30 1 * * *", "America/New_York"),
    "hourly": cron("30 * * * *"),
    "every minute": cron("* * * * *"),
    "day of month and weekday": cron("0 12 1-7 * fri", day_or=False),
    "day of month or weekday": cron("0 12 1-7 * fri", day_or=True),
    "second Saturday": cron("0 12 * * sat#2"),
    "last day": cron("0 12 L * *"),
    "last Friday by cron": cron("0 12 * * L5"),
    "Sunday is 7": cron("0 12 * * 7"),
    "@daily": cron("@daily"),
    "@hourly": cron("@hourly", "America/New_York"),
    "with a year": cron("0 12 * * * 0 2027"),
    "no timezone": cron("30 2 * * *", None),
    "an empty timezone": cron("30 2 * * *", ""),
    "names": cron("0 12 * mar,oct,nov mon-wed"),
    "anchored in the future": interval(3600, "2035-05-05T05:05:05+00:00"),
    "anchored years ago": interval(300, "1999-12-31T23:59:59+00:00"),
    "anchored with microseconds": interval(3600, "2020-01-01T00:00:00.123456+00:00"),
    "anchored elsewhere": interval(86_400, "2027-01-01T02:30:00-05:00", "America/New_York"),
    "36 hours": interval(129_600),
    "36 hours in New York": interval(129_600, timezone="America/New_York"),
    "a day into the skipped hour": interval(86_400, "2027-01-01T01:30:00+00:00"),
    "a week": interval(604_800, "2026-01-04T02:30:00+01:00"),
    "7 hours": interval(7 * 3600),
    "half hours": interval(1800, timezone="Australia/Lord_Howe"),
    "a second and a half": interval(1.5),
    "10 times": rule("DTSTART:20270320T020000\nRRULE:FREQ=DAILY;COUNT=10"),
    "until the clocks change": rule("DTSTART:20200101T023000\nRRULE:FREQ=DAILY;UNTIL=20270328T023000"),
    "except a day": rule("DTSTART:20270101T090000\nRRULE:FREQ=DAILY\nEXDATE:20270327T090000"),
    "except each Sunday": rule("DTSTART:20270101T090000\nRRULE:FREQ=DAILY\nEXRULE:FREQ=WEEKLY;BYDAY=SU"),
    "and a day": rule("DTSTART:20270101T090000\nRRULE:FREQ=WEEKLY\nRDATE:20270328T023000,20271031T023000"),
    "two rules": rule("DTSTART:20270101T090000\nRRULE:FREQ=WEEKLY;BYDAY=SU\nRRULE:FREQ=MONTHLY;BYMONTHDAY=28"),
    "begins in another zone": rule("DTSTART;TZID=America/New_York:20270101T023000\nRRULE:FREQ=DAILY"),
    "begins and ends in UTC": rule("DTSTART:20270101T023000Z\nRRULE:FREQ=DAILY;UNTIL=20270328T023000Z"),
    "no beginning": rule("FREQ=WEEKLY;BYDAY=MO,SU;BYHOUR=2;BYMINUTE=30"),
    "Easter": rule("DTSTART:20200101T023000\nRRULE:FREQ=YEARLY;BYEASTER=0"),
    "by week and by day of the year": rule("DTSTART:20200101T023000\nRRULE:FREQ=YEARLY;BYWEEKNO=12,43;BYDAY=SU"),
    "every other week": rule("DTSTART:20200105T023000\nRRULE:FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,MO"),
    "hourly by rule": rule("DTSTART:20270101T003000\nRRULE:FREQ=HOURLY", "America/New_York"),
    "every 7 minutes": rule("DTSTART:20270313T000000\nRRULE:FREQ=MINUTELY;INTERVAL=7"),
}


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_schedules_have_the_dates_that_prefect_finds(name: str, start: datetime) -> None:
    arguments = AWKWARD[name], start, start + FORTNIGHT, COMPARED
    assert expanded(*arguments) == prefects(*arguments)


@pytest.mark.parametrize("start", [utc(2027, 2, 20), utc(2028, 2, 20), utc(2100, 2, 20)])
def test_a_29th_of_february_comes_in_leap_years_only(start: datetime) -> None:
    arguments = cron("0 12 29 2 *", "UTC"), start, start + FORTNIGHT, COMPARED
    assert expanded(*arguments) == prefects(*arguments)
    assert len(expanded(*arguments)) == (start.year == 2028)


def test_a_rule_that_began_long_ago_has_the_dates_that_prefect_finds() -> None:
    described = rule("DTSTART:20270101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=3")
    arguments = described, utc(2027, 3, 27, 12), utc(2027, 3, 29, 12), COMPARED
    assert expanded(*arguments) == prefects(*arguments)
    begun_in_another_century = rule("DTSTART:19270101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=3")
    assert expanded(begun_in_another_century, *arguments[1:]) == expanded(*arguments)


@pytest.mark.parametrize(
    "described", [cron("*/10 * * * *"), interval(600), rule("DTSTART:20270501T000000\nRRULE:FREQ=HOURLY")]
)
@pytest.mark.parametrize("offset", [timedelta(0), timedelta(microseconds=1), -timedelta(microseconds=1)])
def test_both_ends_belong_to_it(described: Described, offset: timedelta) -> None:
    start = utc(2027, 6, 1, 12) + offset
    (*found,) = expanded(described, start, start + 2 * HOUR, COMPARED)
    assert (found[0] == start) is (found[-1] == start + 2 * HOUR) is not offset
    assert tuple(found) == prefects(described, start, start + 2 * HOUR, COMPARED)


@pytest.mark.parametrize("described", [cron("*/5 * * * *"), interval(300), cron("*/5 * * * * 0", None)])
def test_every_5_minutes_of_24_hours_are_288_dates(described: Described) -> None:
    start = utc(2026, 11, 24, 13, 47, 12)
    assert len(expanded(described, start, start + timedelta(days=1), COMPARED)) == 288


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("start", [SPRING, utc(2027, 5, 1)], ids=["spring", "may"])
def test_dates_do_not_end_after_a_thousand(timezone: str, start: datetime) -> None:
    minutes = MONTH // timedelta(minutes=1)
    for described in (cron("* * * * *", timezone), interval(60, timezone=timezone)):
        found = expand(described, start, start + MONTH, listed=50_000, counted=0).listed
        assert found == tuple(start + number * timedelta(minutes=1) for number in range(minutes + 1))


def test_what_is_beyond_the_listed_ones_is_counted_exactly() -> None:
    start = utc(2027, 5, 1)
    found = expand(cron("* * * * * *"), start, start + MONTH, listed=1000, counted=3_000_000)
    assert found.listed == tuple(start + number * timedelta(seconds=1) for number in range(1000))
    assert len(found.listed) + found.beyond == MONTH // timedelta(seconds=1) + 1


@pytest.mark.parametrize(("listed", "counted"), [(0, 10), (10, 0), (10, 10), (24, 10), (25, 10), (30, 10)])
def test_lists_and_counts_no_more_than_asked_for(listed: int, counted: int) -> None:
    found = expand(cron("0 * * * *"), utc(2027, 5, 1), utc(2027, 5, 2), listed=listed, counted=counted)
    assert len(found.listed) == min(25, listed)
    assert found.beyond == min(25 - len(found.listed), counted)


@pytest.mark.parametrize("described", [cron("* * * * * */10"), interval(10), interval(86_400 + 1e-3)])
def test_dates_that_are_only_counted_take_no_memory(described: Described) -> None:
    def peak(length: timedelta) -> int:
        tracemalloc.start()
        try:
            expand(described, SPRING, SPRING + length, listed=100, counted=10**9)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(timedelta(days=2))
    assert peak(timedelta(days=12)) < 1.5 * few + 100_000


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (cron("0 0 31 2 *"), "failed to find next date"),
        (cron("not a cron"), "Invalid cron string"),
        (cron(""), "Invalid cron string"),
        (cron("@reboot"), "Invalid cron string"),
        (cron("R 0 * * *"), "Random and Hashed"),
        (cron("0 0 * * *", "Mars/Base"), "Invalid timezone"),
        (interval(3600, timezone="Mars/Base"), "Invalid timezone"),
        (interval(0), "must be positive"),
        (interval(-60), "must be positive"),
        (interval(3600, "the day after tomorrow"), "the day after tomorrow|valid datetime"),
        (rule("FREQ=NONSENSE"), "NONSENSE"),
        (rule("every day"), "every day"),
        (rule("FREQ=DAILY;INTERVAL=0"), "INTERVAL is 0"),
        (rule("FREQ=MONTHLY;INTERVAL=0"), "INTERVAL is 0"),
        (rule("FREQ=DAILY", "Mars/Base"), "String should match"),
        (rule("DTSTART:20270101T000000\nRRULE:FREQ=DAILY;UNTIL=20280101T000000Z"), "UNTIL"),
        ({"timezone": "UTC"}, "a cron, an interval or an rrule"),
        ({}, "a cron, an interval or an rrule"),
        ({"cron": None, "interval": None}, "a cron, an interval or an rrule"),
        (cron("0 0 * * *", made_up=True), "not permitted"),
        ({"cron": ["0 0 * * *"]}, "valid string"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_said_to_make_none(described: Described, words: str) -> None:
    with pytest.raises(UnreadableSchedule, match=words) as problem:
        expand(described, SPRING, SPRING + FORTNIGHT, listed=10, counted=10)
    assert len(str(problem.value)) < 200

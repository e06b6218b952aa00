"""Schedules worked out ahead: the same dates as Prefect's own scheduler finds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.prefect_api.schedules import expand, read_schedule

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
    return described, start


@settings(max_examples=300)
@given(questions())
def test_random_schedules_have_the_dates_that_prefect_finds(question: tuple[Described, datetime]) -> None:
    described, start = question
    arguments = described, start, start + FORTNIGHT, COMPARED_AT_RANDOM
    assert outcome(expanded, *arguments) == outcome(prefects, *arguments)

"""When a deployment's schedules make it run: the same dates as Prefect's scheduler finds, faster.

Prefect's own `get_dates` stops after a thousand dates, takes 0.1 ms for each date of a cron schedule, and walks a
recurrence rule from its very beginning, which may be years ago. What is written out here is only what makes it slow;
what a cron expression or a rule means is still asked of the libraries that Prefect asks.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib.metadata import version
from itertools import groupby, islice, product
from textwrap import shorten
from typing import Any
from zoneinfo import ZoneInfo

from dateutil import rrule
from packaging.version import Version
from prefect._vendor.croniter import croniter
from prefect.server.schemas.schedules import MAX_ITERATIONS, CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
# Of a rule with these steps it is known without walking which later instants it meets.
STEPS = {
    rrule.SECONDLY: SECOND,
    rrule.MINUTELY: timedelta(minutes=1),
    rrule.HOURLY: timedelta(hours=1),
    rrule.DAILY: DAY,
    rrule.WEEKLY: timedelta(weeks=1),
}
MINUTE, HOUR, SECONDS = 0, 1, 5
RANGES = {MINUTE: 60, HOUR: 24, SECONDS: 60}
CRON_FIELDS = (5, 6)
LONGEST_REASON = 120
# From this Python on Prefect reads wall times with another library: the two times at which the clocks show the same are
# told apart, and parts of seconds are rounded in its own way.
WITHOUT_PENDULUM = sys.version_info >= (3, 13)
TIMES_SHOWN_TWICE_COUNT = PARTS_OF_SECONDS_ARE_ROUNDED = WITHOUT_PENDULUM
# Of a cron expression, a time that the clocks skip is then an hour later instead of an hour earlier; Prefect 3.9 reads
# cron expressions like that on every Python.
SKIPPED_TIMES_COME_LATER = WITHOUT_PENDULUM or Version(version("prefect")) >= Version("3.9")

Schedule = CronSchedule | IntervalSchedule | RRuleSchedule


class UnreadableSchedule(ValueError):
    """A schedule from which no dates can be told; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Dates:
    """The dates of a schedule, in order, in UTC; `beyond` counts those after them that are not listed."""

    listed: tuple[datetime, ...]
    beyond: int = 0


def expand(described: Mapping[str, Any], start: datetime, end: datetime, *, listed: int, counted: int) -> Dates:
    """The dates of a schedule, as Prefect's API describes it, from `start` to `end`, both included.

    The first `listed` are listed, and at most so many `counted` after them. `UnreadableSchedule` where it makes no
    sense.
    """
    try:
        found = _dates(read_schedule(described), start, end)
        return Dates(tuple(islice(found, listed)), sum(1 for _ in islice(found, counted)))
    except ValidationError as problem:
        # Of an unknown time zone the message lists all that there are.
        words = str(problem.errors()[0]["msg"]).removeprefix("Value error, ")
        raise UnreadableSchedule(shorten(words, LONGEST_REASON, placeholder=" …")) from None
    except (ValueError, TypeError, KeyError, OverflowError) as problem:
        raise UnreadableSchedule(str(problem) or type(problem).__name__) from None


def read_schedule(described: Mapping[str, Any]) -> Schedule:
    """The schedule that an API's description is about."""
    given = {name: value for name, value in described.items() if value is not None}
    if "cron" in given:
        return CronSchedule(**given)
    if "interval" in given:
        return IntervalSchedule(**given)
    if "rrule" in given:
        return RRuleSchedule(**given)
    raise UnreadableSchedule(f"a schedule is a cron, an interval or an rrule, not {sorted(given)}")


def _dates(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    if isinstance(schedule, RRuleSchedule):
        return _of_rule(schedule, start, end)
    if isinstance(schedule, CronSchedule) and len(schedule.cron.split()) in CRON_FIELDS:
        return _of_cron(schedule, start, end)
    if isinstance(schedule, IntervalSchedule) and not schedule.interval.days:
        is_rounded = PARTS_OF_SECONDS_ARE_ROUNDED and schedule.interval.microseconds
        return _as_prefect_does(schedule, start, end) if is_rounded else _of_interval(schedule, start, end)
    return _as_prefect_does(schedule, start, end)


def _of_cron(schedule: CronSchedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Days that match, each with every time of day that matches, read as wall times of the schedule's zone."""
    zone = ZoneInfo(schedule.timezone or "UTC")
    times = _times_of_day(schedule.cron)
    found: list[datetime] = []
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    for day in _days(schedule, first, last):
        midnight = datetime.combine(day, time())
        if offset := _steady_offset(midnight, zone):
            midnight_utc = midnight.replace(tzinfo=UTC) - offset[0]
            found = [midnight_utc + each for each in times]
        else:
            found = sorted({_instant(midnight + each, zone) for each in times}.difference(found))
        yield from found if first < day < last else [at for at in found if start <= at <= end]


def _times_of_day(cron: str) -> list[timedelta]:
    """The times of day that a cron expression's hours, minutes and seconds allow, in order."""
    fields, _ = croniter.expand(cron)

    def allowed(field: int) -> list[int]:
        if field >= len(fields):
            return [0]
        return list(range(RANGES[field])) if fields[field] == ["*"] else sorted(fields[field])

    return [
        timedelta(hours=hour, minutes=minute, seconds=second)
        for hour, minute, second in product(allowed(HOUR), allowed(MINUTE), allowed(SECONDS))
    ]


def _days(schedule: CronSchedule, first: date, last: date) -> Iterator[date]:
    """The days from `first` to `last` that a cron expression's day, month and weekday allow."""
    days = " ".join(["0", "0", *schedule.cron.split()[2:5]])
    midnights = croniter(days, datetime.combine(first, time()) - SECOND, day_or=schedule.day_or)
    while (day := midnights.get_next(datetime).date()) <= last:
        yield day


def _steady_offset(midnight: datetime, zone: ZoneInfo) -> tuple[timedelta] | None:
    """The one offset from UTC that a zone has all day and into the days beside it; None where the clocks change."""
    around = [midnight + hours for hours in (-SECOND, timedelta(), DAY / 2, DAY, DAY + SECOND)]
    offsets = {each.replace(tzinfo=zone, fold=fold).utcoffset() for each in around for fold in (0, 1)}
    (offset, *others) = offsets
    return None if others or offset is None else (offset,)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """What Prefect makes of a wall time: of one that comes twice the first, of one that is skipped a neighbour."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return wall.replace(tzinfo=UTC) - (first if SKIPPED_TIMES_COME_LATER else max(first, second))


def _of_interval(schedule: IntervalSchedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Intervals of less than a day are counted in seconds that pass, whatever the clocks show.

    Where the clocks show an hour twice, Prefect takes the second for the first and leaves it out.
    """
    zone = ZoneInfo(schedule.timezone or "UTC")
    step, anchor = timedelta(seconds=schedule.interval.total_seconds()), _plain(schedule.anchor_date)
    first = at = anchor - (anchor - start) // step * step
    while at <= end:
        if TIMES_SHOWN_TWICE_COUNT or not _is_shown_again(at, zone, step, first):
            yield at
        at += step


def _is_shown_again(at: datetime, zone: ZoneInfo, step: timedelta, first: datetime) -> bool:
    """Whether the clocks have shown this time before, at another date of the same schedule."""
    local = at.astimezone(zone)
    if not local.fold:
        return False
    turned_back = (local.replace(fold=0).utcoffset() or timedelta()) - (local.utcoffset() or timedelta())
    return not turned_back % step and at - turned_back >= first


def _of_rule(schedule: RRuleSchedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Of two dates at which the clocks show the same, Prefect leaves out the second."""
    zone = ZoneInfo(schedule.timezone or "UTC")
    before: Collection[datetime] = ()
    for _, day in groupby(_begun_later(schedule.to_rrule(), start).xafter(start, inc=True), key=datetime.date):
        shown: dict[datetime, datetime] = {}
        for found in day:
            shown.setdefault(found.astimezone(zone).replace(tzinfo=None), found.astimezone(UTC))
        # Where the clocks change at midnight, the day before may have had some of these already.
        dates = sorted(at for wall, at in shown.items() if wall not in before)
        yield from (at for at in dates if at <= end)
        if dates and dates[-1] > end:
            return
        before = shown.keys()


def _begun_later(rule: rrule.rrulebase, start: datetime) -> rrule.rrulebase:
    """The same rule, begun by whole steps later, shortly before `start`. Rules that count stay as they are."""
    if not isinstance(rule, rrule.rrule):
        return rule
    if not rule._interval:
        raise UnreadableSchedule("an rrule whose INTERVAL is 0 never gets anywhere")
    if rule._count is not None or rule._freq not in STEPS:
        return rule
    step = STEPS[rule._freq] * rule._interval
    ahead = start.replace(tzinfo=None) - 2 * DAY - rule._dtstart.replace(tzinfo=None)
    return rule.replace(dtstart=rule._dtstart + max(0, ahead // step) * step)


def _as_prefect_does(schedule: CronSchedule | IntervalSchedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Dates from Prefect itself, asked for more for as long as it stops at its own bound."""
    at = start
    while True:
        page = sorted(_plain(each) for each in schedule._get_dates_generator(start=at, end=end))
        yield from (each for each in page if each >= at)
        if len(page) < MAX_ITERATIONS:
            return
        at = page[-1] + SECOND / 1000


def _plain(at: datetime) -> datetime:
    """The same instant, of the standard library's own kind and in UTC."""
    return datetime.fromtimestamp(at.timestamp(), UTC)

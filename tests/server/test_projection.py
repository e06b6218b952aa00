"""The runs that are projected, beside the runs that Prefect's own scheduler makes on a real server."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from flows.policy.selection import select_pools
from flows.policy.upcoming import Source, UpcomingRun, upcoming_runs
from flows.prefect_api import connect
from flows.prefect_api.schedules import expand
from flows.prefect_api.upcoming import observe_upcoming
from flows.prefect_api.work_pools import read_pools
from tests.rest import Rest, Row, unique

pytestmark = [pytest.mark.anyio, pytest.mark.long]

FORTNIGHT = timedelta(days=14)
HOUR = timedelta(hours=1)
# A fortnight from each of these leads over the change of the clocks in New York and in Berlin. It is so far ahead that
# the scheduler makes no runs of its own accord there.
SPRING, AUTUMN = datetime(2033, 3, 13, 6, 30, tzinfo=UTC), datetime(2033, 10, 25, tzinfo=UTC)
CHANGES = [
    datetime(2033, 3, 13, 7, tzinfo=UTC), datetime(2033, 3, 27, 1, tzinfo=UTC),
    datetime(2033, 10, 30, 1, tzinfo=UTC), datetime(2033, 11, 6, 6, tzinfo=UTC),
]  # fmt: skip
ZONES = ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata", "Australia/Lord_Howe"]
BERLIN, NEW_YORK = {"timezone": "Europe/Berlin"}, {"timezone": "America/New_York"}
# No schedule has more dates in a fortnight than the thousand after which Prefect stops.
AWKWARD: list[Row] = [
    {"cron": "30 2 * * *", **BERLIN},
    {"cron": "30 1,2 * * *", **NEW_YORK},
    {"cron": "*/30 * * * *", **BERLIN},
    {"cron": "0 3 31 * *", **BERLIN},
    {"cron": "0 12 1-7 * fri", "day_or": False, **NEW_YORK},
    {"cron": "0 12 * * sat#2", **NEW_YORK},
    {"cron": "0 3 L * *", **BERLIN},
    {"cron": "@daily", **NEW_YORK},
    {"cron": "30 2 * * * 15", **BERLIN},
    {"cron": "30 2 * * 0 20,40", **BERLIN},
    {"interval": 3600, "anchor_date": "2035-05-05T05:05:05Z", **BERLIN},
    {"interval": 3600, "anchor_date": "2020-01-01T00:00:00.123456Z", **NEW_YORK},
    {"interval": 86_400, "anchor_date": "2033-01-01T02:30:00+01:00", **BERLIN},
    {"interval": 129_600, "anchor_date": "2020-01-01T01:30:00-05:00", **NEW_YORK},
    {"interval": 3600.333, "anchor_date": "2033-03-01T00:00:00Z", **BERLIN},
    {"rrule": "DTSTART:20330101T023000\nRRULE:FREQ=DAILY", **BERLIN},
    {"rrule": "DTSTART:20200101T013000\nRRULE:FREQ=MONTHLY;BYDAY=-1FR,-1SU,1SU", **NEW_YORK},
    {"rrule": "DTSTART:20330301T003000\nRRULE:FREQ=HOURLY;COUNT=500", **BERLIN},
    {"rrule": "DTSTART:20330301T003000\nRRULE:FREQ=HOURLY;UNTIL=20330327T023000", **BERLIN},
    {"rrule": "DTSTART:20330101T090000\nRRULE:FREQ=DAILY\nEXDATE:20330327T090000\nRDATE:20331030T023000", **BERLIN},
]


def random_schedule(chance: random.Random) -> Row:
    """Hourly or less often."""
    timezone = {"timezone": chance.choice(ZONES)}
    minute, hours = chance.randint(0, 59), chance.choice(["*", "*/3", "1-3", f"{chance.randint(0, 23)}"])
    match chance.choice(["cron", "interval", "rrule"]):
        case "cron":
            days = chance.choice(["* * *", "*/2 * *", "* * mon-fri", "1,15,31 * sun", "* 3,10,11 *"])
            return {"cron": f"{minute} {hours} {days}", **timezone}
        case "interval":
            anchor = AUTUMN + timedelta(seconds=chance.randint(-(10**8), 10**8))
            usual = chance.choice([3600, 5400, 7 * 3600, 86_400, 129_600, chance.randint(3600, 200_000)])
            return {"interval": usual, "anchor_date": anchor.isoformat(), **timezone}
        case _:
            often = chance.choice(["HOURLY;INTERVAL=2", "DAILY;BYHOUR=1,2,3", "WEEKLY;BYDAY=SU,MO", "DAILY;INTERVAL=3"])
            return {"rrule": f"DTSTART:20330101T{minute % 24:02}{minute:02}00\nRRULE:FREQ={often}", **timezone}


@contextmanager
def scheduled(rest: Rest, pool: str, groups: list[list[Row]]) -> Iterator[list[Row]]:
    """A deployment for each group of schedules. Schedules go on making runs, so they are gone afterwards."""
    rest.pool(pool)
    deployments: list[Row] = []
    try:
        for group in groups:
            schedules = [{"schedule": each, "active": True} for each in group]
            deployments.append(rest.deployment(pool, schedules=schedules))
        yield deployments
    finally:
        for deployment in deployments:
            rest.delete(f"/deployments/{deployment['id']}").raise_for_status()


def have_made(rest: Rest, deployments: list[Row], start: datetime, end: datetime) -> None:
    """Have Prefect's scheduler make the runs of this time, which it would not do before that time is near."""
    everything = {"start_time": start.isoformat(), "end_time": end.isoformat(), "min_runs": 10_000, "max_runs": 10_000}
    for deployment in deployments:
        rest.ask(f"/deployments/{deployment['id']}/schedule", **everything)


def made_runs(rest: Rest, deployments: list[Row], start: datetime, end: datetime) -> list[Row]:
    query = {
        "deployment_id": {"any_": [deployment["id"] for deployment in deployments]},
        "expected_start_time": {"after_": start.isoformat(), "before_": end.isoformat()},
    }
    return rest.everything("/flow_runs/filter", flow_runs=query, sort="ID_DESC")


def due(run: Row) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"]).astimezone(UTC)


async def look(pool: str, start: datetime, end: datetime) -> list[UpcomingRun]:
    """What a preview would show of the pool at `start`, less what the scheduler has made of the time before."""
    async with connect() as api:
        pools = await read_pools(api)
        selection = select_pools([pool], [], [each.name for each in pools])
        facts = await observe_upcoming(api, pools, selection, now=start, until=end)
    runs, unlisted = upcoming_runs(facts, most=100_000)
    assert not unlisted
    return [run for run in runs if run.due_at >= start]


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
async def test_projects_exactly_the_runs_that_the_scheduler_makes(rest: Rest, start: datetime) -> None:
    end, chance = start + FORTNIGHT, random.Random(2033)
    assert sum(start < change < end for change in CHANGES) == 2
    groups = [AWKWARD[first : first + 3] for first in range(0, len(AWKWARD), 3)]
    groups += [[random_schedule(chance) for _ in range(chance.randint(1, 3))] for _ in range(6)]
    with scheduled(rest, unique("exact"), groups) as deployments:
        projected = {
            (schedule["id"], date)
            for deployment in deployments
            for schedule in deployment["schedules"]
            for date in expand(schedule["schedule"], start, end, listed=1000, counted=0).listed
        }
        have_made(rest, deployments, start, end)
        runs = made_runs(rest, deployments, start, end)
    made = {(run["created_by"]["id"], due(run)) for run in runs}
    assert len(made) == len(runs) > 1500
    assert made == projected
    for change in (change for change in CHANGES if start < change < end):
        assert any(change - HOUR <= date < change + 2 * HOUR for _, date in made)


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
async def test_shows_each_run_once_however_many_are_made_already(rest: Rest, start: datetime) -> None:
    end, middle = start + FORTNIGHT, start + FORTNIGHT / 2
    pool = unique("once")
    # The third deployment runs twice at a time: two schedules with the same dates.
    groups = [AWKWARD[:2], AWKWARD[9:13], [{"cron": "30 */6 * * *", **BERLIN}] * 2, AWKWARD[15:17]]
    with scheduled(rest, pool, groups) as deployments:
        none_made = await look(pool, start, end)
        have_made(rest, deployments, start, middle)
        half_made = await look(pool, start, end)
        have_made(rest, deployments, start, end)
        all_made = await look(pool, start, end)
        runs = made_runs(rest, deployments, start, end)
    assert {run.source for run in none_made} == {Source.PROJECTED}
    assert {(run.source, run.due_at <= middle) for run in half_made} == {
        (Source.SCHEDULED, True),
        (Source.PROJECTED, False),
    }
    assert {run.source for run in all_made} == {Source.SCHEDULED}
    occasions = Counter((run["deployment_id"], due(run)) for run in runs)
    assert 2 in occasions.values()
    for shown in (none_made, half_made, all_made):
        assert Counter((run.deployment_id, run.due_at) for run in shown) == occasions
    assert Counter(run.id for run in all_made) == Counter(run["id"] for run in runs)


async def test_a_run_cancelled_ahead_of_time_is_not_shown_and_not_projected_again(rest: Rest) -> None:
    """A deleted one is: the scheduler makes it again."""
    start, end = SPRING, SPRING + FORTNIGHT
    pool = unique("cancelled")
    with scheduled(rest, pool, [[{"cron": "30 2 * * *", **BERLIN}]]) as (deployment,):
        have_made(rest, [deployment], start, end)
        first, second, third, *others = sorted(made_runs(rest, [deployment], start, end), key=due)
        cancelled = {"type": "CANCELLED", "name": "Cancelled"}
        rest.ask(f"/flow_runs/{first['id']}/set_state", state=cancelled)
        rest.delete(f"/flow_runs/{second['id']}").raise_for_status()
        shown = {run.due_at: run.source for run in await look(pool, start, end)}
        assert shown == {due(second): Source.PROJECTED} | {due(run): Source.SCHEDULED for run in [third, *others]}
        have_made(rest, [deployment], start, end)
        made_again = {due(run): run["state_type"] for run in made_runs(rest, [deployment], start, end)}
        assert made_again == {due(first): "CANCELLED"} | dict.fromkeys(shown, "SCHEDULED")
        assert [run.due_at for run in await look(pool, start, end)] == sorted(shown)

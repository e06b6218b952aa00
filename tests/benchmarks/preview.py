"""What will run in the next 24 hours: a row for each run, made already or only to be made by a schedule."""

# ruff: noqa: PLC0415

import sys
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.benchmarks.client_loop import read_pages
from tests.benchmarks.command_line import measure_commands
from tests.benchmarks.fleet import Size, deployments_with_late_runs
from tests.benchmarks.measure import ONCE, OURS, SELDOM, Job, Measurement, Meter, Setting, Totals, Way, measure
from tests.benchmarks.replay import connect_at_the_fill, floor

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

NAME = "preview"
HOURS = 24

# When it is due, its deployment, and its id where it is made already.
Row = tuple[datetime, str, str]


async def _poolkeeper(setting: Setting, meter: Meter) -> Totals:
    """What the flow does, to the last row of the report."""
    from flows.policy.foreseen import Question
    from flows.policy.preview import foresee
    from flows.policy.selection import select_pools
    from flows.prefect_api.records import parts
    from flows.prefect_api.upcoming import observe_upcoming
    from flows.prefect_api.work_pools import read_pools
    from flows.report.preview import preview_report

    question = Question(HOURS, "UTC", acceptable_wait_minutes=5)
    async with connect_at_the_fill(setting, NAME) as api:
        with meter("observe"):
            now = await api.server_time()
            every_pool = await read_pools(api)
            selection = select_pools(["*"], [], [pool.name for pool in every_pool])
            facts = await observe_upcoming(api, every_pool, selection, now=now, until=question.until(now))
        with meter("foresee"):
            foreseen = foresee(facts, question)
        with meter("report"):
            report = preview_report(foreseen, NAME)
            for _ in parts(NAME, report.markdown, report.rows, report.calendar):
                pass
    runs = [each.run for each in foreseen.expectations]
    return _totals(setting, len(foreseen.pools), ((run.due_at, str(run.deployment_id), run.id) for run in runs))


async def _client_loop(setting: Setting, meter: Meter) -> Totals:
    from prefect.client.orchestration import get_client

    # The client's own schedules cannot tell their dates.
    from prefect.server.schemas import schedules

    kinds = {"cron": schedules.CronSchedule, "interval": schedules.IntervalSchedule}
    now = setting.filled_at
    until = now + timedelta(hours=HOURS)
    rows: list[Row] = []
    async with get_client() as client:
        with meter():
            pools = await read_pages(client.read_work_pools)
            runs = await _read_runs(client, now, until)
            made = {run.idempotency_key for run in runs}
            rows += [
                (run.expected_start_time, str(run.deployment_id), str(run.id))
                for run in runs
                if run.state_type is not None and run.state_type.value == "SCHEDULED" and run.expected_start_time
            ]
            for deployment in await read_pages(client.read_deployments):
                for each in deployment.schedules:
                    described = each.schedule.model_dump(exclude_none=True)
                    schedule: Any = next(kind for name, kind in kinds.items() if name in described)(**described)
                    rows += [
                        (date, str(deployment.id), "")
                        for date in await schedule.get_dates(start=now, end=until)
                        if f"scheduled {deployment.id} {each.id} {date.astimezone(UTC)}" not in made
                    ]
    return _totals(setting, len(pools), rows)


async def _read_runs(client: "PrefectClient", now: datetime, until: datetime) -> "list[FlowRun]":
    """What waits from before, and everything that was made for the time until then."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    waiting = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    before = filters.FlowRunFilterExpectedStartTime(before_=now)  # type: ignore[arg-type]
    coming = filters.FlowRunFilterExpectedStartTime(after_=now, before_=until)  # type: ignore[arg-type]
    return [
        run
        for question in (
            filters.FlowRunFilter(state=waiting, expected_start_time=before),
            filters.FlowRunFilter(expected_start_time=coming),
        )
        for run in await read_pages(client.read_flow_runs, flow_run_filter=question, sort=FlowRunSort.ID_DESC)
    ]


def _totals(setting: Setting, pools: int, rows: Iterable[Row]) -> Totals:
    """`checksum` is of all the rows, so that two ways with the same one have the same rows.

    Of more than a preview lists, these are the ones that are due before the last one that it lists.
    """
    from flows.policy.preview import RUNS_LISTED

    found = sorted((due.astimezone(UTC).isoformat(), deployment, run) for due, deployment, run in rows)
    expected = rows_of_the_fill(setting.size)
    if len(found) < min(expected, RUNS_LISTED):
        sys.exit(f"There are {len(found)} rows, but the fill makes {expected}.")
    if len(found) >= RUNS_LISTED:
        found = found[: bisect_left(found, found[RUNS_LISTED - 1][:1])]
    elif len(found) > expected:
        sys.exit(f"There are {len(found)} rows, but the fill makes {expected}.")
    made = sum(bool(run) for *_, run in found)
    lines = "\n".join(" ".join(each) for each in found)
    return {"pools": pools, "rows": len(found), "made": made, "checksum": zlib.crc32(lines.encode())}


def rows_of_the_fill(size: Size) -> int:
    """The dates of every schedule, which are all hourly and none just at the time of the fill, and what is late."""
    return size.deployments * HOURS + len(deployments_with_late_runs(size))


def _command_line(setting: Setting) -> Measurement:
    """Only runs that are made already, at most as many as the pool has free slots, and none of a paused pool."""
    return measure_commands(setting, [], [["preview", "--hours", str(HOURS)]])


JOB = Job(
    NAME,
    (
        Way(OURS, lambda setting: measure(partial(_poolkeeper, setting))),
        floor(NAME),
        Way("client", lambda setting: measure(partial(_client_loop, setting)), most_rounds=SELDOM),
        # It marks queues and deployments as ready.
        Way("cli", _command_line, most_rounds=ONCE, comes_last=True),
    ),
    rows_of_the_fill,
)

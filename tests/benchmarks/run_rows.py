"""The runs of a filled fleet, and their rows."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from prefect.server.schemas.states import StateType

from tests.benchmarks.fleet import (
    DEPLOYMENTS_PER_FLOW,
    FRESH_DEPLOYMENTS,
    FRESH_ENDED_AGO,
    FRESH_LATE_BY,
    FRESH_RUNS,
    FUTURE_RUNS_PER_DEPLOYMENT,
    HISTORY,
    QUEUES,
    Fresh,
    Kind,
    Size,
    deployments_of,
    deployments_with_late_runs,
    is_failing,
    make_id,
    next_date,
    pool_of,
    queue_id,
    queue_place,
)
from tests.benchmarks.fleet_rows import Row

SEED = 20
OUTCOMES = (
    (StateType.COMPLETED, "Completed"),
    (StateType.FAILED, "Failed"),
    (StateType.FAILED, "TimedOut"),
    (StateType.CRASHED, "Crashed"),
    (StateType.CANCELLED, "Cancelled"),
)
# One pool in twenty fails badly; over all pools about 8 % of the runs are FAILED.
HEALTHY_WEIGHTS = (91, 4, 1, 2, 2)
FAILING_WEIGHTS = (36, 50, 10, 2, 2)


class Run(NamedTuple):
    deployment: int
    state_type: StateType
    state_name: str
    scheduled_at: datetime
    state_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


def ended_runs(size: Size, now: datetime) -> Iterator[Run]:
    """In the order of their ends, evenly spread over the history."""
    rng = random.Random(SEED)
    for number in range(size.runs):
        deployment = rng.randrange(size.deployments)
        weights = FAILING_WEIGHTS if is_failing(pool_of(deployment, size)) else HEALTHY_WEIGHTS
        state_type, state_name = rng.choices(OUTCOMES, weights)[0]
        ended_at = now - HISTORY * (1 - (number + 0.5) / size.runs)
        usual_seconds = 20 + deployment * 37 % 600
        started_at = ended_at - timedelta(seconds=usual_seconds * rng.uniform(0.5, 1.5))
        scheduled_at = started_at - timedelta(seconds=rng.uniform(1, 30))
        yield Run(deployment, state_type, state_name, scheduled_at, ended_at, started_at, ended_at)


def running_runs(size: Size, now: datetime) -> Iterator[Run]:
    for pool in range(size.pools):
        for deployment in deployments_of(pool, size)[: 1 + pool % 3]:
            started_at = now - timedelta(minutes=1 + deployment * 7 % 50)
            scheduled_at = started_at - timedelta(seconds=10)
            yield Run(deployment, StateType.RUNNING, "Running", scheduled_at, started_at, started_at)


def late_runs(size: Size, now: datetime) -> Iterator[Run]:
    for deployment in deployments_with_late_runs(size):
        yield late_run(deployment, next_date(deployment, now) - timedelta(hours=1))


def late_run(deployment: int, scheduled_at: datetime) -> Run:
    return Run(deployment, StateType.SCHEDULED, "Late", scheduled_at, scheduled_at + timedelta(seconds=15))


def future_runs(size: Size, now: datetime) -> Iterator[Run]:
    for deployment in range(size.deployments):
        for hours in range(FUTURE_RUNS_PER_DEPLOYMENT):
            scheduled_at = next_date(deployment, now) + timedelta(hours=hours)
            yield Run(deployment, StateType.SCHEDULED, "Scheduled", scheduled_at, now)


def all_runs(size: Size, now: datetime) -> Iterator[Run]:
    return chain(ended_runs(size, now), running_runs(size, now), late_runs(size, now), future_runs(size, now))


def fresh_runs(fresh: Fresh, size: Size, now: datetime) -> Iterator[Run]:
    return (FRESH[fresh](number, size, now) for number in range(FRESH_RUNS))


def _fresh_ended_run(number: int, _size: Size, now: datetime) -> Run:
    """It ended before all others, and its deployment has enough newer ones for it not to be kept."""
    ended_at = now - FRESH_ENDED_AGO - timedelta(minutes=number)
    started_at = ended_at - timedelta(seconds=60)
    scheduled_at = started_at - timedelta(seconds=10)
    deployment = number % FRESH_DEPLOYMENTS
    return Run(deployment, StateType.COMPLETED, "Completed", scheduled_at, ended_at, started_at, ended_at)


def _fresh_late_run(number: int, size: Size, now: datetime) -> Run:
    """It is late by days, and its deployment has a newer late one, so that it is cancelled."""
    deployments = deployments_with_late_runs(size)
    turn, place = divmod(number, len(deployments))
    return late_run(deployments[place], next_date(deployments[place], now) - FRESH_LATE_BY - timedelta(hours=turn))


FRESH = {Fresh.ENDED: _fresh_ended_run, Fresh.LATE: _fresh_late_run}


def run_row(number: int, run: Run, size: Size) -> Row:
    pool, place = pool_of(run.deployment, size), queue_place(run.deployment, size)
    deployment_id, schedule_id = make_id(Kind.DEPLOYMENT, run.deployment), make_id(Kind.SCHEDULE, run.deployment)
    waiting = run.state_type is StateType.SCHEDULED
    ran = run.ended_at - run.started_at if run.started_at and run.ended_at else timedelta(0)
    return {
        "id": make_id(Kind.RUN, number),
        "created": min(run.scheduled_at, run.state_at) - timedelta(hours=1),
        "updated": run.state_at,
        "name": f"run-{number:07d}",
        "state_id": make_id(Kind.STATE, number),
        "state_type": run.state_type,
        "state_name": run.state_name,
        "state_timestamp": None if run.state_name == "Scheduled" else run.state_at,
        "run_count": 0 if waiting else 1,
        "expected_start_time": run.scheduled_at,
        "next_scheduled_start_time": run.scheduled_at if waiting else None,
        "start_time": run.started_at,
        "end_time": run.ended_at,
        "total_run_time": ran,
        "idempotency_key": f"scheduled {deployment_id} {schedule_id} {run.scheduled_at}",
        "auto_scheduled": True,
        "tags": ["auto-scheduled"],
        "created_by": {"id": str(schedule_id), "type": "SCHEDULE", "display_value": "benchmark"},
        "flow_id": make_id(Kind.FLOW, run.deployment // DEPLOYMENTS_PER_FLOW),
        "deployment_id": deployment_id,
        "work_queue_id": queue_id(pool, place),
        "work_queue_name": QUEUES[place],
    }


def state_row(number: int, run: Run, no_details: Row) -> Row:
    run_id = make_id(Kind.RUN, number)
    waiting = run.state_type is StateType.SCHEDULED
    scheduled_time = run.scheduled_at.isoformat() if waiting else None
    return {
        "id": make_id(Kind.STATE, number),
        "created": run.state_at,
        "updated": run.state_at,
        "flow_run_id": run_id,
        "type": run.state_type,
        "timestamp": run.state_at,
        "name": run.state_name,
        "message": None,
        "state_details": no_details | {"flow_run_id": str(run_id), "scheduled_time": scheduled_time},
    }

"""Which runs come: those already made, and those that schedules will make."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from flows.policy.facts import DeploymentFacts
from flows.policy.fleet import PoolState
from flows.policy.selection import Selection

# The dates of one schedule that are listed (every minute of 31 days, with room to spare), and how many of those after
# them are counted (every second of 31 days, likewise).
DATES_LISTED = 50_000
DATES_COUNTED = 3_000_000


class Source(StrEnum):
    """How a run is known: it exists already, or a schedule will make it."""

    SCHEDULED = "scheduled"
    PROJECTED = "projected"


@dataclass(frozen=True, slots=True)
class UpcomingRun:
    """A run that is due at `due_at`. One that is only projected has no id and no name yet."""

    due_at: datetime
    pool: str | None
    queue_id: str | None
    deployment_id: str | None
    source: Source
    id: str = ""
    name: str = ""
    state_name: str = "Scheduled"


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """An active schedule and when it is due, in order. `beyond` counts the dates after those that are listed.

    `unreadable` says why no dates could be told; it is empty where they could. Equal schedules share one `dates`.
    """

    id: str
    deployment_id: str
    dates: tuple[datetime, ...] = ()
    beyond: int = 0
    unreadable: str = ""


# The date of a schedule for which Prefect has made a run: deployment, schedule, date.
Occasion = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True)
class UpcomingFacts:
    """What was observed of the runs to come. `past` has the durations of recent completed runs by deployment id.

    `paused_deployments` and `paused_schedules` make no runs and are only counted. `unreadable` names flows with
    deployments that the server itself cannot read, `gone` pools that were deleted while they were read.
    """

    selection: Selection
    now: datetime
    pools: tuple[PoolState, ...] = ()
    made: tuple[UpcomingRun, ...] = ()
    occasions: frozenset[Occasion] = frozenset()
    schedules: tuple[ScheduleFacts, ...] = ()
    deployments: Mapping[str, DeploymentFacts] = field(default_factory=dict)
    past: Mapping[str, tuple[timedelta, ...]] = field(default_factory=dict)
    paused_deployments: int = 0
    paused_schedules: int = 0
    unreadable: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def upcoming_runs(facts: UpcomingFacts, *, most: int) -> tuple[tuple[UpcomingRun, ...], int]:
    """All runs to come in the order in which they are due, at most `most`, and how many come after those.

    A date for which a run exists, whatever has become of it, is not projected again.
    """
    runs = [*facts.made, *_projected(facts)]
    runs.sort(key=lambda run: (run.due_at, run.pool or "", run.deployment_id or "", run.id))
    return tuple(runs[:most]), max(0, len(runs) - most)


def _projected(facts: UpcomingFacts) -> Iterator[UpcomingRun]:
    for schedule in facts.schedules:
        deployment = facts.deployments[schedule.deployment_id]
        for date in schedule.dates:
            if (deployment.id, schedule.id, date) not in facts.occasions:
                yield UpcomingRun(date, deployment.pool, deployment.queue_id, deployment.id, Source.PROJECTED)

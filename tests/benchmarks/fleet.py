"""What the filled fleet looks like: everything follows from the size and from the number of a pool or a deployment.

Nothing heavy is imported here: a process starts with the peak memory of the one that started it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from uuid import UUID

HISTORY = timedelta(days=30)
QUEUES = ("default", "high", "low")
WORKERS_PER_POOL = 2
DEPLOYMENTS_PER_FLOW = 10
FUTURE_RUNS_PER_DEPLOYMENT = 3
LATE_RUNS_PER_BLOCKED_POOL = 4


@dataclass(frozen=True)
class Size:
    """`runs` have ended; running, late and future runs come on top."""

    pools: int
    deployments: int
    runs: int

    def ended_within(self, hours: float) -> float:
        """How many runs ended in so many hours before the fill: they are evenly spread."""
        return self.runs * timedelta(hours=hours) / HISTORY


SIZES = {
    "S": Size(pools=20, deployments=200, runs=5_000),
    "M": Size(pools=200, deployments=2_000, runs=100_000),
    "L": Size(pools=1_000, deployments=10_000, runs=1_000_000),
}


class Kind(IntEnum):
    POOL = 1
    QUEUE = 2
    WORKER = 3
    FLOW = 4
    DEPLOYMENT = 5
    SCHEDULE = 6
    RUN = 7
    STATE = 8


def make_id(kind: Kind, number: int) -> UUID:
    """Ids that grow with the number, as the server's own do: inserts stay at the end of the index."""
    return UUID(f"{kind:08x}-0000-7000-8000-{number:012x}")


def has_online_worker(pool: int) -> bool:
    return pool % 3 != 2


def is_paused(pool: int) -> bool:
    return pool % 20 == 7


def is_failing(pool: int) -> bool:
    return pool % 20 == 19


def is_blocked(pool: int) -> bool:
    return is_paused(pool) or not has_online_worker(pool)


def concurrency_limit(pool: int) -> int | None:
    return 3 + pool % 8 if pool % 2 == 0 else None


def pool_of(deployment: int, size: Size) -> int:
    return deployment % size.pools


def deployments_of(pool: int, size: Size) -> range:
    return range(pool, size.deployments, size.pools)


def queue_place(deployment: int, size: Size) -> int:
    return deployment // size.pools % len(QUEUES)


def queue_id(pool: int, place: int) -> UUID:
    return make_id(Kind.QUEUE, pool * len(QUEUES) + place)


def next_date(deployment: int, now: datetime) -> datetime:
    """The next date of the deployment's schedule, which is hourly at a minute of its own."""
    date = now.replace(minute=deployment % 60, second=0, microsecond=0)
    return date if date > now else date + timedelta(hours=1)


def deployments_with_late_runs(size: Size) -> list[int]:
    blocked = filter(is_blocked, range(size.pools))
    return [each for pool in blocked for each in deployments_of(pool, size)[:LATE_RUNS_PER_BLOCKED_POOL]]


# Runs that one measurement clears away, and that are there anew for the next one.

FRESH_RUNS = 1_000
# Those that ended are of so many deployments, as many in each fleet.
FRESH_DEPLOYMENTS = 200
FRESH_ENDED_AGO = timedelta(days=40)
FRESH_LATE_BY = timedelta(days=3)


class Fresh(IntEnum):
    """What is made anew, with the number that its runs begin with."""

    ENDED = 10**9
    LATE = 2 * 10**9

    @property
    def ids(self) -> list[str]:
        return [str(make_id(Kind.RUN, self + number)) for number in range(FRESH_RUNS)]

"""What a preview is asked, and what it foresees: every upcoming run, pool by pool."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from flows.policy.demand import PoolDemand
from flows.policy.fleet import PoolState
from flows.policy.forecast import Expectation, Standing
from flows.policy.load import Span, peaks, quiet, stretches
from flows.policy.sizing import Sizing
from flows.policy.time_zone import time_zone
from flows.policy.upcoming import UpcomingFacts

# Long enough to upgrade a worker or a cluster.
MAINTENANCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Question:
    """What a preview is asked: how far ahead, in whose time, and what if each pool's limit were another one."""

    hours: int
    timezone: str
    acceptable_wait_minutes: int
    what_if_limit: int | None = None

    @property
    def acceptable_wait(self) -> timedelta:
        return timedelta(minutes=self.acceptable_wait_minutes)

    @property
    def zone(self) -> ZoneInfo:
        return time_zone(self.timezone)

    def check(self) -> None:
        """Raise `UnknownTimezone` where no time zone has that name."""
        time_zone(self.timezone)

    def until(self, now: datetime) -> datetime:
        return now + timedelta(hours=self.hours)


@dataclass(frozen=True, slots=True)
class PoolPreview:
    """A work pool and what is to be expected of its runs. `demand` has the pool as it was asked about; `spans` are
    the slots it would hold in seconds from now if each run started when it is due.

    `longest_wait` and `longest_wait_as_it_is` are the longest expected waits with the limit asked about and with the
    one the pool has.
    """

    demand: PoolDemand
    expectations: tuple[Expectation, ...]
    spans: tuple[Span, ...]
    longest_wait: timedelta
    longest_wait_as_it_is: timedelta
    sizing: Sizing | None

    @property
    def state(self) -> PoolState:
        return self.demand.state

    def count(self, standing: Standing) -> int:
        return sum(1 for each in self.expectations if each.standing is standing)


@dataclass(frozen=True, slots=True)
class Preview:
    """Every upcoming run with what is to be expected of it. `unlisted` counts those that come after the listed ones."""

    facts: UpcomingFacts
    question: Question
    pools: tuple[PoolPreview, ...]
    without_pool: tuple[Expectation, ...]
    unlisted: int

    @property
    def beyond(self) -> int:
        """How many runs of schedules with very many dates are not listed."""
        return sum(schedule.beyond for schedule in self.facts.schedules)

    @property
    def lengths(self) -> dict[str, timedelta]:
        """How long runs to come usually take, by deployment id, where past runs tell."""
        return {key: known.median for pool in self.pools for key, known in pool.demand.durations.items()}

    @property
    def stretches(self) -> tuple[datetime, ...]:
        return stretches(self.facts.now, self.question.hours, self.question.zone)

    def slots_wanted(self, pool: PoolPreview) -> tuple[int, ...]:
        """The most slots that the pool's runs want at once in each stretch, if each run started when it is due."""
        return peaks(pool.spans, [(edge - self.facts.now).total_seconds() for edge in self.stretches])

    def quiet(self, pools: Sequence[PoolPreview]) -> tuple[tuple[datetime, datetime], ...]:
        """When no run of these pools is due or runs, for long enough to do something about them; longest first."""
        spans = [span for pool in pools for span in pool.spans]
        found = quiet(spans, until=self._known(pools), shortest=MAINTENANCE.total_seconds())
        return tuple((self._at(begin), self._at(end)) for begin, end in found)

    def least_busy(self, pools: Sequence[PoolPreview]) -> tuple[datetime, datetime, int] | None:
        """The stretch, long enough as well, in which these pools want the fewest slots at once, and how many."""
        edges = [(edge - self.facts.now).total_seconds() for edge in self.stretches]
        wanted = peaks([span for pool in pools for span in pool.spans], edges)
        until, shortest = self._known(pools), MAINTENANCE.total_seconds()
        found = [
            (most, begin, end)
            for most, (begin, end) in zip(wanted, pairwise(edges), strict=True)
            if end <= until and end - begin >= shortest
        ]
        if not found:
            return None
        most, begin, end = min(found)
        return self._at(begin), self._at(end), most

    def _known(self, pools: Sequence[PoolPreview]) -> float:
        """Until how many seconds from now every run of these pools is listed."""
        ids = {run.deployment_id for pool in pools for run in pool.demand.runs}
        cut = [each.dates[-1] for each in self.facts.schedules if each.beyond and each.deployment_id in ids]
        if self.unlisted:
            cut.append(
                max((pool.demand.runs[-1].due_at for pool in self.pools if pool.demand.runs), default=self.facts.now)
            )
        return (min([self.question.until(self.facts.now), *cut]) - self.facts.now).total_seconds()

    def _at(self, seconds: float) -> datetime:
        return self.facts.now + timedelta(seconds=seconds)

    @property
    def expectations(self) -> list[Expectation]:
        """All of them, in the order in which they are due."""
        every = [*self.without_pool, *(each for pool in self.pools for each in pool.expectations)]
        return sorted(every, key=lambda each: (each.run.due_at, each.run.pool or "", each.run.id))

"""When something counts as failing."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class Tally:
    """Runs that ended: how many in all, and how many of them failed."""

    finished: int = 0
    failed: int = 0


NO_RUNS = Tally()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer in words. Too few runs is an answer of its own: neither failing nor well."""

    is_failing: bool
    is_enough: bool
    words: str


class FailureThreshold(BaseModel):
    """Failing means: at least `minimum_runs` ended in the window, and at least `failure_rate` of them failed.

    The window is a true sliding one, by the time at which runs ended. Cancelled runs are not counted at all, neither as
    failed nor as finished; nor are crashed ones where `count_crashed` is off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    failure_rate: float = Field(
        default=0.5,
        gt=0,
        le=1,
        title="Failure rate",
        description="The share of runs (above 0, up to 1) that must have failed. 0.5 is half of them.",
    )
    minimum_runs: int = Field(
        default=10,
        ge=1,
        title="Minimum runs",
        description="So many runs must have ended in the window; fewer are too few to judge. Below 5, one bad minute "
        "is enough to pause something.",
    )
    window_minutes: int = Field(
        default=60,
        ge=1,
        le=10080,
        title="Window (minutes)",
        description="How many minutes back runs count, by the time they ended (1 to 10080, which is a week).",
    )
    count_crashed: bool = Field(
        default=True,
        title="Count crashed runs",
        description="On: a crashed run counts as failed. Off: it does not count at all.",
    )

    @property
    def window(self) -> timedelta:
        return timedelta(minutes=self.window_minutes)

    @property
    def fewest_failures(self) -> int:
        """With fewer failed runs than this nothing can be failing."""
        # Rounded, so that 0.58 of 50 is 29 and not a hair more.
        return max(1, ceil(round(self.failure_rate * self.minimum_runs, 9)))

    def judge(self, *, finished: int, failed: int) -> Judgement:
        if finished < self.minimum_runs:
            words = f"{finished} runs ended, too few to judge (at least {self.minimum_runs})"
            return Judgement(is_failing=False, is_enough=False, words=words)
        rate = failed / finished
        return Judgement(
            is_failing=rate >= self.failure_rate,
            is_enough=True,
            words=f"{failed} of {finished} runs failed ({rate:.0%}, threshold {self.failure_rate:.0%})",
        )

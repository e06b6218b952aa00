"""How long runs take, judged from how long they took."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from statistics import median

# Nine runs of ten are done by then.
HIGH = 0.9


@dataclass(frozen=True, slots=True)
class Duration:
    """What `runs` past runs tell: half of them took no longer than `median`, nine of ten no longer than `high`."""

    median: timedelta
    high: timedelta
    runs: int


def estimate(past: Sequence[timedelta]) -> Duration | None:
    """The estimate from past durations; None where there are none to judge from."""
    if not past:
        return None
    ordered = sorted(past)
    middle = median(each.total_seconds() for each in ordered)
    return Duration(timedelta(seconds=middle), ordered[ceil(HIGH * len(ordered)) - 1], len(ordered))

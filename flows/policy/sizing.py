"""The concurrency limit that would do: how many slots a work pool needs so that no run waits too long."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
from operator import le

from flows.policy.demand import PoolDemand
from flows.policy.load import Span, peaks
from flows.policy.slots import Start, Want, simulate


@dataclass(frozen=True, slots=True)
class Sizing:
    """The recommended concurrency limit, and how long a run then waits at most.

    `is_lower_bound`: some runs of unknown length were taken for short ones, so more slots may be needed.
    `extra` is how many slots it is more than now (negative: fewer; None: there is no limit now).
    """

    limit: int
    longest_wait: timedelta
    extra: int | None
    is_lower_bound: bool


def recommend(demand: PoolDemand, acceptable: timedelta) -> Sizing | None:
    """The smallest limit at which no run waits longer than acceptable, taking runs for as long as nine of ten took.

    One slot less, and some run would wait longer. Waiting that queues and deployments impose is not counted: no
    limit of the pool would help. None where nothing is due.
    """
    # A slot that is held for good is to be freed, not to be made up for.
    wants = demand.wants(demand.runs, high=True)
    held = [each for each in demand.held(high=True) if each.seconds < inf]
    if not wants:
        return None
    unlimited = replace(demand.limits, pool=None)
    imposed = simulate(wants, held, unlimited)
    enough = max(1, peaks(spans(wants, held, imposed), (0.0, inf))[0])
    bounds = [max(acceptable.total_seconds(), wait(want, start)) for want, start in zip(wants, imposed, strict=True)]

    def waits(limit: int) -> list[float]:
        return list(map(wait, wants, simulate(wants, held, replace(unlimited, pool=limit))))

    limit = _smallest(lambda limit: all(map(le, waits(limit), bounds)), enough)
    current = demand.state.pool.concurrency_limit
    return Sizing(
        limit=limit,
        longest_wait=timedelta(seconds=max(waits(limit))),
        extra=None if current is None else limit - current,
        is_lower_bound=bool(demand.unknown),
    )


def spans(wants: Sequence[Want], held: Sequence[Want], starts: Sequence[Start]) -> list[Span]:
    """From when to when each slot is held; those that never start hold none."""
    got = [
        (start.at, start.at + want.seconds) for want, start in zip(wants, starts, strict=True) if start.at is not None
    ]
    return [(0.0, each.seconds) for each in held] + got


def wait(want: Want, start: Start) -> float:
    """The seconds from when a run could have started until it does; none for one that never will."""
    return 0.0 if start.at is None else start.at - max(0.0, want.at)


def _smallest(does: Callable[[int], bool], enough: int) -> int:
    """The smallest limit up to `enough`, which does, such that one less does not."""
    too_few, limit = 0, enough
    while limit - too_few > 1:
        middle = (too_few + limit) // 2
        if does(middle):
            limit = middle
        else:
            too_few = middle
    return limit

"""What becomes of each upcoming run of a work pool: will it start, when, and what is in its way?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from math import inf

from flows.policy.demand import PoolDemand
from flows.policy.obstacles import closed_doors, taken_slots
from flows.policy.slots import Gate, Start, simulate
from flows.policy.upcoming import UpcomingRun
from flows.policy.words import lasting, some_of

# Prefect calls a run late when it has not started this long after it was due.
LATE_AFTER = timedelta(seconds=15)
LATE_NAME = "Late"
# Shorter than what a worker takes to notice anything.
NO_WAIT = 0.5


class Standing(StrEnum):
    """What is to be expected of an upcoming run."""

    WILL_START = "will-start"
    WILL_WAIT = "will-wait"
    LATE = "late"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is to be expected of a run, and why. `expected_start_at` None: never, or nobody can know."""

    run: UpcomingRun
    standing: Standing
    reason: str = ""
    expected_start_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """The line in which a run stands: who shares it meets the same obstacles."""

    queue_id: str | None
    deployment_id: str | None


Explain = Callable[[_Line], str]


def expect(demand: PoolDemand) -> tuple[Expectation, ...]:
    """What is to be expected of each of the pool's runs, in their order.

    Where the length of some runs is unknown, the pool is simulated twice, as if they ended at once and as if they
    never ended. Where the two differ about a run, nobody can know when it starts.
    """
    doors, slots = _explained(demand)
    lines = [_Line(run.queue_id, run.deployment_id) for run in demand.runs]
    is_open = [not doors(line) for line in lines]
    runs = [run for run, free in zip(demand.runs, is_open, strict=True) if free]
    wants, held = demand.wants(runs, unknown=inf), demand.held(unknown=inf)
    at_best = at_worst = simulate(demand.wants(runs), demand.held(), demand.limits)
    if any(want.seconds == inf for want in [*wants, *held]):
        at_worst = simulate(wants, held, demand.limits)
    starts = iter(zip(at_best, at_worst, strict=True))
    return tuple(
        _of_open(demand, run, *next(starts), slots(line))
        if free
        else Expectation(run, standing_of(run, demand.now, Standing.BLOCKED), doors(line))
        for run, line, free in zip(demand.runs, lines, is_open, strict=True)
    )


def standing_of(run: UpcomingRun, now: datetime, otherwise: Standing) -> Standing:
    """A run that should have started is late, whatever else it is."""
    return Standing.LATE if run.state_name == LATE_NAME or now - run.due_at > LATE_AFTER else otherwise


def _explained(demand: PoolDemand) -> tuple[Explain, Explain]:
    """What stays in the way, and which slots are taken now, each worked out once for a line."""

    @cache
    def doors(line: _Line) -> str:
        return "; ".join(closed_doors(line, demand.state, demand.deployments, demand.now))

    @cache
    def slots(line: _Line) -> str:
        return "; ".join(taken_slots(line, demand.state, demand.deployments, demand.now))

    return doors, slots


def _of_open(demand: PoolDemand, run: UpcomingRun, best: Start, worst: Start, slots: str) -> Expectation:
    """The expectation of a run for which it is only a matter of slots."""
    if best.at is None:
        cancelled = _cancelled(demand, run) if best.waited_for is Gate.DEPLOYMENT else ""
        never = cancelled or slots or "no slot is ever given back"
        return Expectation(run, standing_of(run, demand.now, Standing.BLOCKED), never)
    at = max(run.due_at, demand.now + timedelta(seconds=best.at))
    waits = (at - max(run.due_at, demand.now)).total_seconds() >= NO_WAIT
    standing = standing_of(run, demand.now, Standing.WILL_WAIT if waits else Standing.WILL_START)
    is_known = worst.at is not None and abs(worst.at - best.at) < NO_WAIT
    reasons = [slots] if standing is Standing.LATE and slots else []
    if waits and is_known:
        reasons.append(f"waits {lasting(at - max(run.due_at, demand.now))} for {_gate(demand, run, best)}")
    elif not is_known:
        reasons.append(f"has to wait for {_gate(demand, run, worst)} if others take long: {_not_known(demand)}")
    elif standing is Standing.LATE and not slots:
        reasons.append("nothing is in its way any more")
    return Expectation(run, standing, "; ".join(reasons), at if is_known else None)


def _gate(demand: PoolDemand, run: UpcomingRun, start: Start) -> str:
    pool = demand.state.pool
    if start.waited_for is Gate.DEPLOYMENT:
        return f"its deployment's concurrency limit of {demand.deployments[run.deployment_id or ''].limit}"
    if start.waited_for is Gate.QUEUE:
        queue = next(queue for queue in demand.state.queues if queue.id == run.queue_id)
        return f"a slot of work queue {queue.name!r} (limit {queue.concurrency_limit})"
    return f"a slot of the work pool (limit {pool.concurrency_limit})"


def _cancelled(demand: PoolDemand, run: UpcomingRun) -> str:
    deployment = demand.deployments.get(run.deployment_id or "")
    if deployment is None or not deployment.cancels:
        return ""
    return f"will be cancelled: its deployment's concurrency limit of {deployment.limit} is reached then"


def _not_known(demand: PoolDemand) -> str:
    if not demand.unknown:
        return "what runs now takes longer than it used to"
    return f"no past run tells how long {some_of(demand.unknown)} take" + ("s" if len(demand.unknown) == 1 else "")

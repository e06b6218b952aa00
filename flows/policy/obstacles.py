"""What stands in a run's way: why it has not started, or will not."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from flows.policy.facts import DeploymentFacts, QueueFacts, RunFacts
from flows.policy.fleet import PoolState
from flows.policy.stuck import stuck_runs
from flows.policy.words import some_of

Deployments = Mapping[str, DeploymentFacts]


class Queued(Protocol):
    """A run as far as its place in line is concerned."""

    @property
    def queue_id(self) -> str | None: ...
    @property
    def deployment_id(self) -> str | None: ...


def obstacles(run: Queued, state: PoolState, deployments: Deployments, now: datetime) -> tuple[str, ...]:
    """Everything in the way of a run of this pool, most decisive first; empty where nothing known explains it."""
    return (*closed_doors(run, state, deployments, now), *taken_slots(run, state, deployments, now))


def closed_doors(run: Queued, state: PoolState, deployments: Deployments, now: datetime) -> tuple[str, ...]:
    """What stays in the way until somebody changes it."""
    pool, queue, deployment = state.pool, _queue(run, state), deployments.get(run.deployment_id or "")
    found = []
    if pool.is_paused:
        found.append("the work pool is paused")
    if not state.is_attended(now):
        found.append("no worker is online")
    if pool.concurrency_limit == 0:
        found.append("the work pool's concurrency limit is 0")
    if queue is None:
        found.append("its work queue no longer exists")
    elif queue.is_paused:
        found.append(f"the work queue {queue.name!r} is paused")
    if queue is not None and queue.concurrency_limit == 0:
        found.append(f"the concurrency limit of work queue {queue.name!r} is 0")
    if deployment is not None and deployment.limit == 0:
        found.append("the deployment's concurrency limit is 0")
    return tuple(found)


def taken_slots(run: Queued, state: PoolState, deployments: Deployments, now: datetime) -> tuple[str, ...]:
    """The limits that are reached now, and by which runs."""
    pool, queue, deployment = state.pool, _queue(run, state), deployments.get(run.deployment_id or "")
    found = []
    if pool.concurrency_limit and len(state.active) >= pool.concurrency_limit:
        holders = _holders(state.active, state, now)
        found.append(f"all {pool.concurrency_limit} slots of the work pool are taken by {holders}")
    if queue is not None and queue.concurrency_limit:
        own = [active for active in state.active if active.queue_id == queue.id]
        if len(own) >= queue.concurrency_limit:
            found.append(
                f"all {queue.concurrency_limit} slots of work queue {queue.name!r} are taken by "
                f"{_holders(own, state, now)}"
            )
    if deployment is not None and deployment.limit and deployment.active >= deployment.limit:
        found.append(f"the deployment's concurrency limit of {deployment.limit} is reached")
    return tuple(found)


def _queue(run: Queued, state: PoolState) -> QueueFacts | None:
    return next((queue for queue in state.queues if queue.id == run.queue_id), None)


def _holders(runs: Sequence[RunFacts], state: PoolState, now: datetime) -> str:
    """Who holds the slots, those first who will not give them back."""
    stuck = {run.id for run in stuck_runs(state, now)}

    def words(run: RunFacts) -> str:
        if run.id in stuck:
            return f"{run.name} ({run.state_name} since {run.since:%Y-%m-%d %H:%M} UTC without sign of life)"
        return f"{run.name} ({run.state_name})"

    return some_of([words(run) for run in sorted(runs, key=lambda run: run.id not in stuck)])

"""What stands in a run's way: why it has not started, or will not."""

from collections.abc import Mapping
from datetime import datetime

from flows.policy.facts import DeploymentFacts, RunFacts
from flows.policy.fleet import PoolState
from flows.policy.words import some_of


def obstacles(
    run: RunFacts, state: PoolState, deployments: Mapping[str, DeploymentFacts], now: datetime
) -> tuple[str, ...]:
    """Everything in the way of a run of this pool, most decisive first; empty where nothing known explains it."""
    return (*_of_pool(state, now), *_of_queue(run, state), *_of_deployment(run, deployments))


def _of_pool(state: PoolState, now: datetime) -> list[str]:
    pool, found = state.pool, []
    if pool.is_paused:
        found.append("the work pool is paused")
    if not state.is_attended(now):
        found.append("no worker is online")
    if pool.concurrency_limit == 0:
        found.append("the work pool's concurrency limit is 0")
    elif pool.concurrency_limit is not None and len(state.active) >= pool.concurrency_limit:
        found.append(f"all {pool.concurrency_limit} slots of the work pool are taken by {_holders(state.active)}")
    return found


def _of_queue(run: RunFacts, state: PoolState) -> list[str]:
    queue = next((queue for queue in state.queues if queue.id == run.queue_id), None)
    if queue is None:
        return ["its work queue no longer exists"]
    found = []
    if queue.is_paused:
        found.append(f"the work queue {queue.name!r} is paused")
    holders = tuple(active for active in state.active if active.queue_id == queue.id)
    if queue.concurrency_limit == 0:
        found.append(f"the concurrency limit of work queue {queue.name!r} is 0")
    elif queue.concurrency_limit is not None and len(holders) >= queue.concurrency_limit:
        found.append(
            f"all {queue.concurrency_limit} slots of work queue {queue.name!r} are taken by {_holders(holders)}"
        )
    return found


def _of_deployment(run: RunFacts, deployments: Mapping[str, DeploymentFacts]) -> list[str]:
    deployment = deployments.get(run.deployment_id or "")
    if deployment is None or deployment.limit is None:
        return []
    if deployment.active >= deployment.limit:
        return [f"the deployment's concurrency limit of {deployment.limit} is reached"]
    return []


def _holders(runs: tuple[RunFacts, ...]) -> str:
    return some_of([f"{run.name} ({run.state_name})" for run in runs])

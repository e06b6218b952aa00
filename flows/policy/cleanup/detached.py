"""What lost its work pool for certain, and what may be served by a process instead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from flows.policy.cleanup.kinds import Scope
from flows.policy.facts import POLLED_RECENTLY
from flows.policy.plan import Target

# A worker's last poll is written down a moment after it, when the queue may be about to go.
POLL_TAKES = timedelta(seconds=5)
# Of a deployment that lost its pool, of one that is deleted, of one that has a pool again.
Cause = Literal["detached", "gone", "lost"]


@dataclass(frozen=True, slots=True)
class FormerPool:
    """The pool that a deployment was seen in. `queue` None: its default one. `ended_at` is when that queue was deleted,
    where it is known; `left`: somebody took the deployment out."""

    name: str
    type: str | None
    queue: str | None
    seen_at: datetime
    ended_at: datetime | None = None
    left: bool = False


@dataclass(frozen=True, slots=True)
class LooseDeployment:
    """A deployment without work pool. `queue` is the name that stays behind when its queue goes."""

    target: Target
    created_at: datetime
    updated_at: datetime
    last_polled_at: datetime | None = None
    queue: str | None = None
    former: FormerPool | None = None
    scheduled_runs: int = 0


@dataclass(frozen=True, slots=True)
class OrphanRun:
    """A scheduled run without queue, or whose deployment is gone. `queue` is the name that stays behind."""

    target: Target
    deployment_id: str
    cause: Cause
    state_id: str
    state_name: str
    due_at: datetime
    auto_scheduled: bool
    starts: int = 0
    queue: str | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OrphanFacts:
    """`queues` are the names of the queues of the former pools that are there. `unread_*` were too many to read."""

    deployments: tuple[LooseDeployment, ...] = ()
    runs: tuple[OrphanRun, ...] = ()
    queues: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread_deployments: int = 0
    unread_runs: int = 0


def is_served(deployment: LooseDeployment, now: datetime) -> bool:
    return deployment.last_polled_at is not None and now - deployment.last_polled_at < POLLED_RECENTLY


def doubt(deployment: LooseDeployment, now: datetime) -> str:
    """Why it is not certain that the deployment lost its pool and that no process serves it, or "" where it is."""
    return next(_doubts(deployment, now), "")


def _doubts(deployment: LooseDeployment, now: datetime) -> Iterator[str]:
    polled, former = deployment.last_polled_at, deployment.former
    if is_served(deployment, now):
        yield "a process serves it"
    is_changed_since = former is None or former.ended_at is None or deployment.updated_at > former.ended_at
    if is_changed_since and now - deployment.updated_at < POLLED_RECENTLY:
        yield "it was changed just now: a process may be about to serve it"
    if former is None:
        if deployment.queue is None:
            yield "nothing tells that it ever had a work pool; a process may serve it when that is up"
        if polled is not None:
            yield "its work queue is gone, but a process may have served it since"
    elif former.left:
        yield f"somebody took it out of work pool '{former.name}', so that a process may serve it"
    elif former.ended_at is None and deployment.updated_at > former.seen_at:
        yield f"it was in work pool '{former.name}', but has been changed since"
    elif former.ended_at and polled and polled > former.ended_at + POLL_TAKES:
        yield f"a process has served it since its work queue in '{former.name}' was deleted"


def obstacle(deployment: LooseDeployment, scope: Scope) -> str:
    """Why a detached deployment cannot go back to its pool, and what to do; "" where it can."""
    return next(_obstacles(deployment.former, scope), "")


def _obstacles(former: FormerPool | None, scope: Scope) -> Iterator[str]:
    types = {pool.name: pool.type for pool in scope.pools}
    if former is None:
        yield "which work pool it had is not known any more: move it to one, or delete it"
    elif not scope.selection.covers(former.name) or former.name in scope.protection.pools:
        yield f"its work pool '{former.name}' is not one that may be touched: move it by hand, or delete it"
    elif former.name not in scope.names:
        yield f"its work pool '{former.name}' is gone: create that again, move the deployment to another, or delete it"
    elif types[former.name] != former.type:
        was = former.type or "unknown"
        yield f"its work pool '{former.name}' was of type {was}, now one of type {types[former.name]}: move it by hand"


def queue_for(deployment: LooseDeployment, facts: OrphanFacts) -> str | None:
    """The queue that a deployment had, where its pool has that again; None: the pool's default one."""
    former = deployment.former
    return former.queue if former and former.queue in facts.queues.get(former.name, ()) else None

"""Which workers and work queues nothing uses any more."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flows.policy.cleanup.kinds import Found, Scope, verdict
from flows.policy.facts import DEFAULT_HEARTBEAT, MISSED_HEARTBEATS, POLLED_RECENTLY
from flows.policy.plan import Kind, Target, Verb, Verdict
from flows.policy.words import counted, lasting


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker's row: when it last gave a sign of life, or else when it was made."""

    id: str
    name: str
    pool: str
    pool_id: str
    seen_at: datetime
    heartbeat: timedelta = DEFAULT_HEARTBEAT

    def is_gone(self, scope: Scope) -> bool:
        """Whether it is offline, as Prefect calls it, and has been for long enough."""
        silent = scope.now - self.seen_at
        return silent > max(scope.retention.offline_worker, self.heartbeat * MISSED_HEARTBEATS)


@dataclass(frozen=True, slots=True)
class SeenQueue:
    """A work queue, with how many deployments it has, and how many runs that have not ended, or not long ago."""

    id: str
    name: str
    pool: str
    is_default: bool
    deployments: int = 0
    runs: int = 0
    last_polled_at: datetime | None = None

    def is_polled(self, now: datetime) -> bool:
        return self.last_polled_at is not None and now - self.last_polled_at < POLLED_RECENTLY


def decide_offline_workers(workers: Sequence[SeenWorker], scope: Scope) -> Found:
    """Delete the rows of workers that were not seen for long, those first that have been gone for longest."""
    gone = [worker for worker in workers if worker.is_gone(scope)]
    left = Counter({f"seen within {lasting(scope.retention.offline_worker)}": len(workers) - len(gone)})
    ordered = sorted(gone, key=lambda worker: (worker.seen_at, worker.id))
    return Found(tuple(_gone(worker, scope) for worker in ordered), +left)


def _gone(worker: SeenWorker, scope: Scope) -> Verdict:
    target = Target(Kind.WORKER, f"{worker.pool}/{worker.name}", worker.id, worker.pool)
    silent = scope.now - worker.seen_at
    if reason := scope.protection.reason(target):
        return verdict("offline-workers", Verb.LEAVE, target, reason)
    hours = round(silent.total_seconds() / 3600, 1)
    return verdict("offline-workers", Verb.DELETE, target, f"last seen {lasting(silent)} ago", silent_hours=hours)


def decide_empty_queues(queues: Sequence[SeenQueue], scope: Scope) -> Found:
    """Delete the queues that have nothing in them, by name; those in use are counted."""
    polled = Counter(queue.pool for queue in queues if queue.is_polled(scope.now))
    in_pool = Counter(queue.pool for queue in queues)
    verdicts: list[Verdict] = []
    left: Counter[str] = Counter()
    for queue in sorted(queues, key=lambda each: (each.pool, each.name)):
        target = Target(Kind.QUEUE, f"{queue.pool}/{queue.name}", queue.id, queue.pool)
        if queue.is_default:
            left["the default queue of its work pool"] += 1
        elif queue.deployments or queue.runs:
            left["in use"] += 1
        elif reason := scope.protection.reason(target):
            verdicts.append(verdict("empty-queues", Verb.LEAVE, target, reason))
        elif queue.is_polled(scope.now) and polled[queue.pool] < in_pool[queue.pool]:
            # A worker that was told no names asks every queue of its pool.
            reason = "nothing is in it, but a worker asks it by name for work"
            verdicts.append(verdict("empty-queues", Verb.LEAVE, target, reason))
        else:
            reason = f"{counted(0, 'deployment')}, no run lately"
            verdicts.append(verdict("empty-queues", Verb.DELETE, target, reason))
    return Found(tuple(verdicts), left)

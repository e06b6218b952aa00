"""One event for each change, so that people hang their own notifications on it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import NAMESPACE_URL, UUID, uuid5

import anyio
from prefect.events import emit_event
from prefect.runtime import flow_run

from flows.policy.plan import ALREADY_DONE, ALREADY_GONE, Kind, Outcome, Result, Verb, Verdict

# The events of runs wait no longer than this.
TELL_SECONDS = 30.0
# Told what became of a batch.
Tell = Callable[[Sequence[Outcome]], None]

RESOURCES = {
    Kind.POOL: "prefect.work-pool",
    Kind.QUEUE: "prefect.work-queue",
    Kind.DEPLOYMENT: "prefect.deployment",
    Kind.RUN: "prefect.flow-run",
    Kind.WORKER: "prefect.worker",
    Kind.AUTOMATION: "prefect.automation",
}
PAST = {
    Verb.PAUSE: "paused",
    Verb.RESUME: "resumed",
    Verb.DRAIN: "drained",
    Verb.CREATE: "created",
    Verb.CHANGE: "changed",
    Verb.CANCEL: "cancelled",
    Verb.CRASH: "crashed",
    Verb.DELETE: "deleted",
    Verb.RESTORE: "restored",
}


def emit_incident(words: str) -> None:
    """Say that too much fails at once for pausing to help: `poolkeeper.incident.reported`."""
    emit_event(
        event="poolkeeper.incident.reported",
        resource={"prefect.resource.id": "poolkeeper.incident", "prefect.resource.name": "common outage"},
        related=_this_run(),
        payload={"reason": words},
    )


def emit_drift(pool: str, pool_id: str | None, words: str) -> None:
    """Say that a work pool, also a missing one, is otherwise than its spec says: `poolkeeper.pool.drifted`."""
    emit_event(
        event="poolkeeper.pool.drifted",
        resource={
            "prefect.resource.id": f"prefect.work-pool.{pool_id}" if pool_id else f"poolkeeper.missing-pool.{pool}",
            "prefect.resource.name": pool,
        },
        related=_this_run(),
        payload={"reason": words},
    )


@contextmanager
def telling() -> Iterator[Tell]:
    """Emits an event for each change, whatever ends the block.

    Those of runs are many, and while a server writes them down other writes wait, or are turned away on SQLite: they go
    together, at the end or after a while.
    """
    waiting: deque[Outcome] = deque()
    since = anyio.current_time()

    def emit() -> None:
        while waiting:
            outcome = waiting.popleft()
            emit_change(outcome.verdict, outcome.made_id)

    def tell(outcomes: Sequence[Outcome]) -> None:
        nonlocal since
        done = [each for each in outcomes if each.result is Result.DONE]
        waiting.extend(each for each in done if each.detail not in (ALREADY_GONE, ALREADY_DONE))
        now = anyio.current_time()
        if now - since >= TELL_SECONDS or any(each.verdict.target.kind is not Kind.RUN for each in outcomes):
            emit()
            since = now

    try:
        yield tell
    finally:
        emit()


def emit_change(verdict: Verdict, made_id: str = "") -> None:
    """Say that the verdict's action was done: `poolkeeper.pool.paused` on the pool, related to this run.

    `made_id` is the id of what was created.
    """
    target = verdict.target
    related = _this_run()
    if target.pool is not None:
        related.append(
            {
                "prefect.resource.id": f"prefect.work-pool.{target.pool}",
                "prefect.resource.name": target.pool,
                "prefect.resource.role": "work-pool",
            }
        )
    emit_event(
        event=f"poolkeeper.{target.kind}.{PAST[verdict.verb]}",
        resource={
            "prefect.resource.id": f"{RESOURCES[target.kind]}.{made_id or target.id}",
            "prefect.resource.name": target.name,
        },
        related=related,
        payload={"reason": verdict.reason, **verdict.numbers},
        id=_own_id(verdict),
    )


def _own_id(verdict: Verdict) -> UUID | None:
    """The same for whoever tells of a deletion, so that Prefect keeps one event of it.

    On Postgres, two runs at once may each hear from the server that it was they who deleted it.
    """
    if verdict.verb is not Verb.DELETE:
        return None
    return uuid5(NAMESPACE_URL, f"poolkeeper:{verdict.target.kind}:{verdict.target.id}:deleted")


def _this_run() -> list[dict[str, str]]:
    run_id = flow_run.get_id()
    if not run_id:
        return []
    return [
        {
            "prefect.resource.id": f"prefect.flow-run.{run_id}",
            "prefect.resource.name": flow_run.get_flow_name() or "",
            "prefect.resource.role": "flow-run",
        }
    ]

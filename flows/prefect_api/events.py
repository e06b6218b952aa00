"""One event for each change, so that people hang their own notifications on it."""

from prefect.events import emit_event
from prefect.runtime import flow_run

from flows.policy.plan import Kind, Verb, Verdict

RESOURCES = {
    Kind.POOL: "prefect.work-pool",
    Kind.QUEUE: "prefect.work-queue",
    Kind.DEPLOYMENT: "prefect.deployment",
    Kind.RUN: "prefect.flow-run",
    Kind.WORKER: "prefect.worker",
}
PAST = {
    Verb.PAUSE: "paused",
    Verb.RESUME: "resumed",
    Verb.CREATE: "created",
    Verb.CHANGE: "changed",
    Verb.CANCEL: "cancelled",
    Verb.CRASH: "crashed",
    Verb.DELETE: "deleted",
}


def emit_change(verdict: Verdict) -> None:
    """Say that the verdict's action was done: `poolkeeper.pool.paused` on the pool, related to this run."""
    target = verdict.target
    related = [
        {"prefect.resource.id": f"prefect.flow-run.{run_id}", "prefect.resource.role": "flow-run"}
        for run_id in [flow_run.get_id()]
        if run_id
    ]
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
            "prefect.resource.id": f"{RESOURCES[target.kind]}.{target.id}",
            "prefect.resource.name": target.name,
        },
        related=related,
        payload={"reason": verdict.reason, **verdict.numbers},
    )

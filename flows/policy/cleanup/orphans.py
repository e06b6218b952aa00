"""Which scheduled runs no work pool will ever start, and which deployments can go back to the work pool they had."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from flows.policy.backlog import WAITING
from flows.policy.cleanup.detached import (
    LooseDeployment,
    OrphanFacts,
    OrphanRun,
    doubt,
    is_served,
    obstacle,
    queue_for,
)
from flows.policy.cleanup.kinds import Found, Scope, verdict
from flows.policy.plan import Verb, Verdict
from flows.policy.words import lasting

WHY = {
    "detached": "its deployment lost its work pool",
    "gone": "its deployment is deleted",
    "lost": "its work queue was deleted, and it gets no other",
}


def decide_orphaned_deployments(facts: OrphanFacts, scope: Scope) -> Found:
    """Put back what lost its pool where that is there again; report the others, and count what is served."""
    if not scope.includes_no_pool:
        return Found()
    ordered = sorted(facts.deployments, key=lambda each: (each.created_at, each.target.id))
    served = [each for each in ordered if is_served(each, scope.now)]
    found = tuple(_decide_deployment(each, facts, scope) for each in ordered if each not in served)
    return _found(found, {"served by a process": len(served)}, facts.unread_deployments)


def decide_orphaned_runs(facts: OrphanFacts, scope: Scope) -> Found:
    """Cancel what no pool will start and nobody protects, the longest due first."""
    if not scope.includes_no_pool:
        return Found()
    deployments = {each.target.id: each for each in facts.deployments}
    ordered = sorted(facts.runs, key=lambda run: (run.due_at, run.target.id))
    unclear = sum(each.scheduled_runs for each in facts.deployments if doubt(each, scope.now))
    found = tuple(_decide_run(run, deployments.get(run.deployment_id), scope) for run in ordered)
    return _found(found, {"a process may serve their deployment": unclear}, facts.unread_runs)


def _found(verdicts: tuple[Verdict, ...], left: Mapping[str, int], unread: int) -> Found:
    counts = {**left, "not looked at, too many": unread}
    return Found(verdicts, {reason: count for reason, count in counts.items() if count})


def kept(run: OrphanRun, deployment: LooseDeployment | None, scope: Scope) -> str:
    """Why an orphaned run is left alone, or "" where it is not."""
    return next(_keeps(run, deployment, scope), "")


def _keeps(run: OrphanRun, deployment: LooseDeployment | None, scope: Scope) -> Iterator[str]:
    if reason := scope.protection.reason(run.target):
        yield reason
    if run.deployment_id in scope.protection.deployment_ids:
        yield "its deployment is Poolkeeper's own"
    if run.target.pool is not None and run.target.pool not in scope.names:
        yield f"its work pool '{run.target.pool}' is not selected"
    if not run.tags.isdisjoint(scope.retention.keep_tags):
        yield "a tag of it protects it"
    if (run.starts or run.state_name not in WAITING) and run.due_at > scope.now - scope.retention.late:
        yield f"started before, now {run.state_name}: its process may still go on with it"
    if run.cause == "lost" and run.queue is None:
        yield "a process may have been meant to start it: cancel it, or run it again"
    if run.cause == "detached" and (deployment is None or doubt(deployment, scope.now)):
        yield "a process may serve its deployment"
    is_coming = run.auto_scheduled and run.due_at > scope.now and run.state_name == "Scheduled"
    if is_coming and deployment is not None and not obstacle(deployment, scope):
        yield "it is made anew when its deployment goes back to its work pool"


def _decide_deployment(deployment: LooseDeployment, facts: OrphanFacts, scope: Scope) -> Verdict:
    reasons = (scope.protection.reason(deployment.target), doubt(deployment, scope.now), obstacle(deployment, scope))
    reason = next((each for each in reasons if each), "")
    if reason or deployment.former is None:
        return verdict("orphaned-deployments", Verb.LEAVE, deployment.target, reason)
    queue = queue_for(deployment, facts)
    to = f"goes to its queue '{queue}'" if queue else "goes to the default queue of that"
    reason = f"its work pool '{deployment.former.name}' is there again; it {to}"
    return verdict("orphaned-deployments", Verb.CHANGE, deployment.target, reason)


def _decide_run(run: OrphanRun, deployment: LooseDeployment | None, scope: Scope) -> Verdict:
    reason = kept(run, deployment, scope)
    words = f"{WHY[run.cause]}; {reason}" if reason else f"{WHY[run.cause]}: nothing will ever start it"
    late = max(timedelta(0), scope.now - run.due_at)
    verb, minutes = Verb.LEAVE if reason else Verb.CANCEL, round(late.total_seconds() / 60)
    overdue = lasting(late) if late else ""
    return verdict("orphaned-runs", verb, run.target, words, overdue=overdue, overdue_minutes=minutes)

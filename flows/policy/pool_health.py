"""Which work pools need attention, and why: the findings of the inventory."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flows.policy.failure_threshold import FailureThreshold
from flows.policy.fleet import FleetFacts, PoolState
from flows.policy.orphans import orphaned_deployments
from flows.policy.pause_note import why_paused
from flows.policy.plan import Kind, Plan, Target, Verb, Verdict
from flows.policy.stuck import stuck_runs
from flows.policy.words import counted, some_of


class Code(StrEnum):
    """What the inventory can find. The order is the order of a report: what stops work comes first."""

    PAUSED = "paused"
    NO_ONLINE_WORKER = "no-online-worker"
    LIMIT_ZERO = "limit-zero"
    STUCK_RUNS = "stuck-runs"
    FAILING = "failing"
    LATE_RUNS = "late-runs"
    SATURATED = "saturated"
    QUEUE_PAUSED = "queue-paused"
    SECRET_IN_TEMPLATE = "secret-in-template"  # noqa: S105 - the name of a finding
    NO_CONCURRENCY_LIMIT = "no-concurrency-limit"
    IDLE = "idle"
    ORPHANED_DEPLOYMENTS = "orphaned-deployments"
    ORPHANED_RUNS = "orphaned-runs"


# Worth knowing, but nothing stands still because of it.
ADVICE = frozenset({Code.NO_CONCURRENCY_LIMIT, Code.IDLE})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at, in words a person can act on."""

    code: Code
    text: str


def find(state: PoolState, now: datetime, threshold: FailureThreshold) -> tuple[Finding, ...]:
    """The findings of one pool, most pressing first."""
    found = [*_standing_still(state, now), *_running(state, now, threshold), *_set_up(state, now)]
    return tuple(sorted(found, key=lambda finding: list(Code).index(finding.code)))


def find_in_fleet(fleet: FleetFacts, now: datetime) -> tuple[Finding, ...]:
    """What belongs to no pool and will therefore never run."""
    orphans = orphaned_deployments(fleet, now)
    if not orphans:
        return ()
    shown = some_of([deployment.name for deployment in orphans])
    found = [Finding(Code.ORPHANED_DEPLOYMENTS, f"{counted(len(orphans), 'deployment')} without a work pool: {shown}")]
    if runs := sum(deployment.scheduled_runs for deployment in orphans):
        found.append(Finding(Code.ORPHANED_RUNS, f"{counted(runs, 'scheduled run')} of theirs can never start"))
    return tuple(found)


def decide_findings(fleet: FleetFacts, findings: Mapping[str, tuple[Finding, ...]]) -> Plan:
    """The inventory's plan: every pool is left as it is, with what was found as the reason."""

    def verdict(state: PoolState) -> Verdict:
        found = findings[state.pool.name]
        return Verdict(
            target=Target(Kind.POOL, state.pool.name, state.pool.id, pool=state.pool.name),
            verb=Verb.LEAVE,
            reason="; ".join(finding.text for finding in found) or "nothing to look at",
            numbers={finding.code: True for finding in found},
        )

    return Plan(job="pool-inventory", verdicts=tuple(verdict(state) for state in fleet.pools))


def _standing_still(state: PoolState, now: datetime) -> list[Finding]:
    pool, found = state.pool, []
    if pool.is_paused:
        words = why_paused(pool.description) or "no run of it starts until it is resumed"
        found.append(Finding(Code.PAUSED, words))
    if not state.is_attended(now):
        known = len(state.workers)
        found.append(
            Finding(Code.NO_ONLINE_WORKER, f"no online worker ({known} known, all offline)" if known else "no worker")
        )
    zero = [f"queue {queue.name!r}" for queue in state.queues if queue.concurrency_limit == 0]
    if pool.concurrency_limit == 0:
        zero.insert(0, "the pool")
    if zero:
        found.append(Finding(Code.LIMIT_ZERO, f"concurrency limit 0 on {', '.join(zero)}: nothing starts"))
    paused = [repr(queue.name) for queue in state.queues if queue.is_paused]
    if paused:
        found.append(Finding(Code.QUEUE_PAUSED, f"no run starts from queue {', '.join(paused)}"))
    return found


def _running(state: PoolState, now: datetime, threshold: FailureThreshold) -> list[Finding]:
    found = []
    if stuck := stuck_runs(state, now):
        oldest = min(stuck, key=lambda run: run.since)
        found.append(
            Finding(
                Code.STUCK_RUNS,
                f"{counted(len(stuck), 'run')} without sign of life; {oldest.name} is {oldest.state_name} since "
                f"{oldest.since:%Y-%m-%d %H:%M} UTC",
            )
        )
    judgement = threshold.judge(finished=state.finished, failed=state.failed)
    if judgement.is_failing:
        found.append(Finding(Code.FAILING, judgement.words))
    if state.late:
        found.append(Finding(Code.LATE_RUNS, counted(state.late, "late run")))
    limit = state.pool.concurrency_limit
    if limit and len(state.active) >= limit:
        found.append(Finding(Code.SATURATED, f"all {limit} slots are taken"))
    return found


def _set_up(state: PoolState, now: datetime) -> list[Finding]:
    found = []
    if state.pool.template.secrets:
        where = ", ".join(state.pool.template.secrets[:3])
        found.append(
            Finding(Code.SECRET_IN_TEMPLATE, f"a secret stands in plain text in the base job template: {where}")
        )
    if state.pool.concurrency_limit is None:
        found.append(Finding(Code.NO_CONCURRENCY_LIMIT, "no concurrency limit"))
    unused = not (state.deployments or state.finished or state.active or state.late or state.cancelling)
    if unused and not state.workers_online(now):
        found.append(Finding(Code.IDLE, "nothing is deployed to it, nothing ran, no worker is online"))
    return found

"""Which of the runs that ended long ago are deleted, and which are kept."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from sys import intern

from flows.policy.cleanup.kinds import ONLY_THE_RULE, Found, Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.plan import Kind, Number, Target, Verb, Verdict
from flows.policy.words import lasting

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
FAILURES = frozenset({"FAILED", "CRASHED"})


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended. `pool` is None where it has none."""

    id: str
    name: str
    pool: str | None
    deployment_id: str | None
    state_type: str
    state_name: str
    ended_at: datetime
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of a deployment's past, by the ids of runs: those that ended last, those of them that were not
    cancelled counted apart, and the latest failure."""

    last: frozenset[str] = frozenset()
    latest_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What decides about runs beside themselves.

    `histories` by the ids of deployments that exist; the runs of others have nobody who would ask for them.
    `parents` are the runs that have a subflow, or a subflow's subflow, which has not ended.
    """

    histories: Mapping[str, History] = field(default_factory=dict)
    parents: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FinishedFacts:
    """The runs that may go, oldest first; how many are kept for which reason; how many were not looked at, because as
    many as may go at once were found before."""

    runs: tuple[FinishedRun, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    unread: int = 0


def keep_reason(run: FinishedRun, past: Past, scope: Scope) -> str:
    """Why the run is kept, or "" where it may go."""
    if scope.protection.reason(_target(run)):
        return "Poolkeeper's own"
    if not scope.has(run.pool):
        return "their work pool is not selected"
    if run.state_type not in ENDED or run.ended_at >= scope.now - scope.retention.finished:
        return "ended too recently"
    if not run.tags.isdisjoint(scope.retention.keep_tags):
        return "their tag protects them"
    return _kept_by_others(run, past, scope.retention)


def _kept_by_others(run: FinishedRun, past: Past, retention: Retention) -> str:
    history = past.histories.get(run.deployment_id or "")
    if run.id in past.parents:
        return "a subflow of theirs has not ended"
    if history is None:
        return ""
    if run.id in history.last:
        return f"among the last {retention.keep_last} of their deployment"
    if run.id == history.latest_failure:
        return "the latest failure of their deployment"
    return ""


def sift(runs: Iterable[FinishedRun], past: Past, scope: Scope) -> tuple[list[FinishedRun], Counter[str]]:
    """The runs that may go, oldest first, and how many are kept for which reason."""
    kept: Counter[str] = Counter()
    free = []
    for run in runs:
        if reason := keep_reason(run, past, scope):
            kept[reason] += 1
        else:
            free.append(run)
    return sorted(free, key=lambda run: (run.ended_at, run.id)), kept


def decide_finished_runs(facts: FinishedFacts, scope: Scope) -> Found:
    """Delete what may go; what is kept is counted by reason."""
    left = dict(facts.kept)
    if facts.unread:
        left["more than may go at once, not looked at"] = facts.unread
    return Found(tuple(_delete(run, scope) for run in facts.runs), left)


def _delete(run: FinishedRun, scope: Scope) -> Verdict:
    whose = "" if run.deployment_id else ", of no deployment"
    age = scope.now - run.ended_at
    reason = f"{run.state_name} {lasting(age)} ago{whose}"
    return Verdict(_target(run), Verb.DELETE, intern(reason), _numbers(age.days))


@lru_cache(maxsize=4096)
def _numbers(days: int) -> Mapping[str, Number]:
    """Shared by the runs that ended so many days ago, which may be a hundred thousand."""
    return {**ONLY_THE_RULE["finished-runs"], "ended_days": days}


def _target(run: FinishedRun) -> Target:
    return Target(Kind.RUN, run.name, run.id, run.pool)

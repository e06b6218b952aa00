"""Which of the runs that should have started long ago are cancelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.policy.backlog import HELD, WAITING
from flows.policy.cleanup.kinds import Found, Scope, verdict
from flows.policy.plan import Kind, Target, Verb, Verdict
from flows.policy.words import lasting


@dataclass(frozen=True, slots=True)
class LateRun:
    """A run that should have started and has not. `starts` counts how often it was started before; `state_id` changes
    with every change of its state."""

    id: str
    name: str
    pool: str
    deployment_id: str | None
    due_at: datetime
    state_name: str
    state_id: str
    auto_scheduled: bool
    starts: int = 0
    tags: frozenset[str] = frozenset()


def decide_late_runs(runs: Sequence[LateRun], scope: Scope) -> Found:
    """Of each deployment cancel all but the newest of those that a schedule made and nobody has touched since."""
    ordered = sorted(runs, key=lambda run: (run.due_at, run.id))
    newest = {run.deployment_id: run.id for run in ordered if not untouchable(run, scope)}
    late = [run for run in ordered if run.due_at < scope.now - scope.retention.late]
    younger = len(ordered) - len(late)
    left = {f"late by less than {lasting(scope.retention.late)}": younger} if younger else {}
    return Found(tuple(_decide(run, newest, scope) for run in late), left)


def untouchable(run: LateRun, scope: Scope) -> str:
    """Why a late run is left alone however late it is, or "" where it is not."""
    if reason := scope.protection.reason(_target(run)):
        return reason
    if not run.tags.isdisjoint(scope.retention.keep_tags):
        return "a tag of it protects it"
    if not run.auto_scheduled:
        return "made by hand"
    if run.starts or run.state_name not in WAITING:
        return f"started before, now {run.state_name}"
    return "it waits for a slot of its deployment" if run.state_name == HELD else ""


def _decide(run: LateRun, newest: dict[str | None, str], scope: Scope) -> Verdict:
    age = scope.now - run.due_at
    numbers = {"late_minutes": round(age.total_seconds() / 60)}
    late = f"late by {lasting(age)}"
    if reason := untouchable(run, scope):
        return verdict("late-runs", Verb.LEAVE, _target(run), f"{late}; {reason}", **numbers)
    if newest[run.deployment_id] == run.id:
        return verdict("late-runs", Verb.LEAVE, _target(run), f"{late}; the newest of its deployment", **numbers)
    return verdict("late-runs", Verb.CANCEL, _target(run), f"{late}; its deployment has a newer one", **numbers)


def _target(run: LateRun) -> Target:
    return Target(Kind.RUN, run.name, run.id, run.pool)

"""What becomes of the runs that were due while something was paused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.policy.plan import Kind, Target, Verb, Verdict
from flows.policy.recovery import Backlog

# The state of a run that is held back: Prefect leaves it alone when its deployment is changed, while it deletes every
# other run that a schedule made for later.
HELD = "AwaitingConcurrencySlot"
# States of a run that waits for its first start. One that is retried or resumed waits under another name.
WAITING = frozenset({"Scheduled", "Late", HELD})


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that was due and has not started. `starts` counts how often it was started before."""

    id: str
    name: str
    deployment_id: str | None
    due_at: datetime
    state_name: str
    auto_scheduled: bool
    starts: int = 0

    @property
    def is_droppable(self) -> bool:
        """Only what a schedule made and nobody has touched since may ever be cancelled or put off."""
        return self.auto_scheduled and self.starts == 0 and self.state_name in WAITING


def to_drop(runs: Sequence[WaitingRun], policy: Backlog) -> tuple[WaitingRun, ...]:
    """The runs that the policy cancels, oldest first. `latest` keeps the newest of each deployment."""
    if policy == "keep":
        return ()
    droppable = sorted((run for run in runs if run.is_droppable), key=lambda run: (run.due_at, run.id))
    if policy == "drop":
        return tuple(droppable)
    newest = {run.deployment_id: run.id for run in droppable}
    return tuple(run for run in droppable if newest[run.deployment_id] != run.id)


def drop_verdicts(target: Target, dropped: Sequence[WaitingRun], policy: Backlog) -> Iterator[Verdict]:
    """What becomes of the runs of a pool or deployment that the policy cancels."""
    for run in dropped:
        reason = f"backlog of {target.name} ({policy}): was due {run.due_at:%Y-%m-%d %H:%M:%S} UTC"
        yield Verdict(Target(Kind.RUN, run.name, run.id, pool=target.pool), Verb.CANCEL, reason)

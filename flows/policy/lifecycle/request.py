"""What a person asks for at the form of pool-lifecycle, and whether its parts fit together."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from hashlib import sha256
from textwrap import shorten
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.policy.bad_input import BadInput
from flows.policy.plan import ActionLimit
from flows.policy.recovery import Backlog
from flows.policy.words import one_line

JOB = "pool-lifecycle"
Action = Literal["pause", "resume", "drain", "set-concurrency-limit", "clear-concurrency-limit", "delete", "restore"]
NOBODY_NAMED = "a person"
LONGEST_RUN_NAME = 120
LONGEST_ACTOR = 100
# Parameters that only some actions know.
BELONGS: dict[str, tuple[Action, ...]] = {
    "expires_minutes": ("pause",),
    "backlog": ("resume", "pause"),
    "concurrency_limit": ("set-concurrency-limit",),
    "wait_minutes": ("drain",),
    "delete": ("delete",),
}


class DeleteOptions(BaseModel):
    """What becomes of that which depends on a work pool that is deleted. Without an answer, it is not deleted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    move_deployments_to: str = Field(
        default="",
        title="Move deployments to",
        description="The name of the work pool that takes over its deployments, of the same type. Empty: none does.",
    )
    archive_deployments: bool = Field(
        default=False,
        title="Archive deployments",
        description="On: its deployments are paused and lose their work pool; restoring it attaches and resumes them. "
        "Off: it is not deleted while it has any, unless they are moved.",
    )
    cancel_runs: bool = Field(
        default=False,
        title="Cancel runs",
        description="On: its runs that have not ended are cancelled. Off: it is not deleted while there are any.",
    )
    ignore_automations: bool = Field(
        default=False,
        title="Ignore automations",
        description="On: delete it although automations name it; they stay as they are, and may fail. Off: it is not "
        "deleted while any does.",
    )


class LifecycleLimit(ActionLimit):
    """The most work pools that one run may change; over it, nothing is done at all."""

    max_actions: int = Field(
        default=1,
        ge=0,
        title="Most work pools",
        description="The most work pools that one run may change. What belongs to a work pool comes along uncounted.",
    )


def story(action: str, pool: str, reason: str) -> str:
    """The name of a run in a list: `pause etl-pool: database upgrade`."""
    return shorten(one_line(f"{action} {pool}: {reason}"), LONGEST_RUN_NAME, placeholder="…")


AS_USUAL = DeleteOptions()
ONE_POOL = LifecycleLimit()


@dataclass(frozen=True, slots=True)
class Request:
    """The parameters of the flow."""

    action: Action
    pool: str
    reason: str
    actor: str = ""
    expires_minutes: float | None = None
    backlog: Backlog = "keep"
    concurrency_limit: int | None = None
    wait_minutes: float = 60
    delete: DeleteOptions = AS_USUAL
    limit: LifecycleLimit = ONE_POOL
    dry_run: bool = False

    def check(self) -> None:
        """Raise `BadInput` where something is missing, or does not belong to the action."""
        if problem := next(self._problems(), ""):
            raise BadInput(f"{problem} Nothing was done.")

    def _problems(self) -> Iterator[str]:
        if not self.reason.strip():
            yield "Parameter 'reason' is blank. Say why, in a few words: others will read it on the work pool."
        usual = {field.name: field.default for field in fields(self)}
        for name, actions in BELONGS.items():
            if getattr(self, name) != usual[name] and self.action not in actions:
                belongs = " or ".join(f"'{action}'" for action in actions)
                yield f"Parameter '{name}' belongs to the action {belongs}, and this is '{self.action}'. Leave it out."
        if self.action == "pause" and self.backlog != "keep" and self.expires_minutes is None:
            yield "Parameter 'backlog' counts when a work pool is resumed, and this pause has no end. Say it then."
        if self.action == "set-concurrency-limit" and self.concurrency_limit is None:
            yield "Parameter 'concurrency_limit' is missing. Say how many runs may go at once (0: none starts)."
        if self.delete.move_deployments_to and self.delete.archive_deployments:
            yield "Deployments can be moved or archived, not both (delete.move_deployments_to, archive_deployments)."


@dataclass(frozen=True, slots=True)
class Hand:
    """A request with who made it, when, and in which run. `booked` is the tag of the pause that a booked run ends."""

    request: Request
    by: str
    now: datetime
    run_id: str = ""
    booked: str = ""

    @property
    def until(self) -> datetime | None:
        """When the pause ends by itself."""
        minutes = self.request.expires_minutes
        return None if minutes is None else self.now + timedelta(minutes=minutes)

    @property
    def why(self) -> str:
        """The reason with its author, as every verdict tells it."""
        return f"{self.by}: {self.request.reason.strip()}"

    def tag(self, pool_id: str) -> str:
        """The name of the pause that this run makes of a pool."""
        return sha256(f"{pool_id} {self.now.isoformat()} {self.run_id}".encode()).hexdigest()[:12]

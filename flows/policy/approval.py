"""A person's answer to a plan, and which plan it was."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from flows.policy.plan import Plan, UnsafePlan
from flows.policy.words import lasting

SHOWN_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Approval:
    """`most` is how many of the plan's actions may be done, the first ones; None: all. `words` say who answered what,
    and why."""

    is_granted: bool
    words: str
    most: int | None = None


def digest(plan: Plan) -> str:
    """The same for the same actions on the same targets in the same order, and for no others."""
    seen = sha256()
    for action in plan.actions:
        seen.update(f"{action.target.kind}\n{action.target.id}\n{action.verb}\n".encode())
    return seen.hexdigest()[:SHOWN_DIGITS]


def check_age(planned_at: datetime, now: datetime, longest: timedelta, shown: str) -> None:
    """Raise `UnsafePlan` for a plan that is older than it may be when it is applied."""
    age = now - planned_at
    if age > longest:
        raise UnsafePlan(
            f"The plan {shown} was made {lasting(age)} ago; a plan may be applied for {lasting(longest)} "
            "(pace.plan_hours). Nothing was done. Run again: the new plan shows what has changed since."
        )

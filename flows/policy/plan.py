"""A plan is an object: one verdict for every observed target, made, shown, checked against its limit, then applied."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

# From this many pools, deployments, queues or workers up, a share of them says something.
SHARE_JUDGED_FROM = 5

Number = int | float | str | bool | None


class Kind(StrEnum):
    """What a target is."""

    POOL = "pool"
    QUEUE = "queue"
    DEPLOYMENT = "deployment"
    RUN = "run"
    WORKER = "worker"
    AUTOMATION = "automation"


class Verb(StrEnum):
    """What a verdict asks for. Everything but `leave` changes something."""

    LEAVE = "leave"
    PAUSE = "pause"
    RESUME = "resume"
    DRAIN = "drain"
    CREATE = "create"
    CHANGE = "change"
    CANCEL = "cancel"
    CRASH = "crash"
    DELETE = "delete"
    RESTORE = "restore"


class Result(StrEnum):
    """What became of an action."""

    PLANNED = "planned"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Target:
    """A thing in Prefect. `name` is a pool's or run's name, or `flow/deployment`, `pool/queue`, `pool/worker`."""

    kind: Kind
    name: str
    id: str
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What shall happen to a target, why in words, and the numbers behind the words."""

    target: Target
    verb: Verb
    reason: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """One verdict for every observed target. `left` counts by reason those too many to list one by one."""

    job: str
    verdicts: tuple[Verdict, ...]
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def actions(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.verb is not Verb.LEAVE)


# What somebody else has done before is done; it is not told a second time.
ALREADY_GONE = "already gone"
ALREADY_DONE = "already done"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action, and why where that needs words. `is_left`: skipped because it was never begun.

    `made_id` is the id of what was created, which nobody knew before.
    """

    verdict: Verdict
    result: Result
    detail: str = ""
    is_left: bool = False
    made_id: str = ""


class UnsafePlan(Exception):
    """The plan would change more than its limit allows. Nothing was done."""


class ActionLimit(BaseModel):
    """The most that one run may change; over it, nothing is done at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_actions: int = Field(
        default=50,
        ge=0,
        title="Most actions",
        description="The most things one run may change. A plan with more is refused as a whole.",
    )
    max_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        title="Largest share",
        description="The largest share (0 to 1) of the pools, deployments, queues or workers there are that one run "
        f"may change. Judged only from {SHARE_JUDGED_FROM} of them up; runs are limited by number alone.",
    )

    def check(self, plan: Plan, population: Mapping[Kind, int]) -> None:
        """Raise `UnsafePlan` where the plan goes over the limit. `population` is how many of each kind there are."""
        actions = plan.actions
        if len(actions) > self.max_actions:
            raise UnsafePlan(
                f"{plan.job} would change {len(actions)} things; at most {self.max_actions} are allowed at once "
                "(limit.max_actions). Nothing was done. Read the plan; if it is right, raise the limit and run again."
            )
        for kind, count in Counter(action.target.kind for action in actions).items():
            there = population.get(kind, 0)
            if kind is Kind.RUN or there < SHARE_JUDGED_FROM:
                continue
            # Rounded, so that 0.58 of 50 is 29 and not a hair less.
            if count > round(self.max_share * there, 6):
                raise UnsafePlan(
                    f"{plan.job} would change {count} of {there} {kind}s; at most a share of {self.max_share:g} is "
                    "allowed at once (limit.max_share). Nothing was done. Read the plan; if it is right, raise the "
                    "limit and run again."
                )

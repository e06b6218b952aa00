"""A cleanup's plan: what each kind's rule found, within its cap, in the order in which it is done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.policy.bad_input import BadInput
from flows.policy.cleanup.caps import Caps, within
from flows.policy.cleanup.kinds import RULE, CleanupKind, Found
from flows.policy.plan import ActionLimit, Kind, Plan, Target, Verb, Verdict

JOB = "pool-cleanup"
# What frees slots comes first. Orphaned runs go before their deployments come back, and the bulk comes last.
ORDER: tuple[CleanupKind, ...] = (
    "stuck-runs",
    "orphaned-runs",
    "orphaned-deployments",
    "late-runs",
    "offline-workers",
    "empty-queues",
    "idle-pools",
    "finished-runs",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be cleared away. `found` is by kind, in the order of the plan; `there` is how many there are of what
    shares are judged of (of workers and queues: how many were looked at)."""

    plan: Plan
    found: Mapping[CleanupKind, Found]
    there: Mapping[Kind, int]
    limit: ActionLimit
    now: datetime

    def check(self) -> None:
        """Raise `UnsafePlan` where the plan goes over its limit."""
        self.limit.check(self.plan, self.there)


def decide_cleanup(
    found: Mapping[CleanupKind, Found], caps: Caps, limit: ActionLimit, there: Mapping[Kind, int], now: datetime
) -> Decision:
    """Put together what the rules found. Of one target that two rules found, one says what happens to it."""
    capped = {kind: within(found[kind], caps.of(kind)) for kind in ORDER if kind in found}
    own = _each_once(capped)
    left: dict[str, int] = {}
    for kind, each in own.items():
        left |= {f"{kind}: {reason}": count for reason, count in each.left.items()}
    verdicts = tuple(verdict for each in own.values() for verdict in each.verdicts)
    there = {**there, Kind.WORKER: _looked_at(found, "offline-workers"), Kind.QUEUE: _looked_at(found, "empty-queues")}
    return Decision(Plan(JOB, verdicts, left), own, there, limit, now)


def rule_of(verdict: Verdict) -> str:
    """The kind of cleanup whose rule made a verdict."""
    return str(verdict.numbers[RULE])


def check_kinds(kinds: Sequence[CleanupKind]) -> None:
    """Raise `BadInput` where nothing is asked for: an empty list is not everything."""
    if not kinds:
        raise BadInput(
            "Parameter 'kinds' is an empty list, which selects nothing. Nothing was done. "
            f"Name what is to be cleared away: {', '.join(ORDER)}."
        )


def _looked_at(found: Mapping[CleanupKind, Found], kind: CleanupKind) -> int:
    each = found.get(kind, Found())
    return len(each.verdicts) + sum(each.left.values())


def _each_once(found: Mapping[CleanupKind, Found]) -> dict[CleanupKind, Found]:
    """An action goes before leaving alone, an earlier kind before a later one."""
    acted: set[Target] = set()
    seen: set[Target] = set()

    def actions(each: Found) -> Iterator[Verdict]:
        for verdict in each.verdicts:
            if verdict.verb is not Verb.LEAVE and verdict.target not in acted:
                acted.add(verdict.target)
                yield verdict

    chosen = {kind: list(actions(each)) for kind, each in found.items()}
    for kind, each in found.items():
        for verdict in each.verdicts:
            if verdict.verb is Verb.LEAVE and verdict.target not in acted and verdict.target not in seen:
                seen.add(verdict.target)
                chosen[kind].append(verdict)
    return {kind: Found(tuple(chosen[kind]), each.left) for kind, each in found.items()}

"""The kinds of things that are left behind, and what a look at one kind finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, get_args

from flows.policy.cleanup.retention import Retention
from flows.policy.facts import PoolFacts
from flows.policy.plan import Number, Target, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import Selection

CleanupKind = Literal[
    "finished-runs",
    "late-runs",
    "stuck-runs",
    "orphaned-runs",
    "orphaned-deployments",
    "offline-workers",
    "empty-queues",
    "idle-pools",
]
KINDS: tuple[CleanupKind, ...] = get_args(CleanupKind)
# What a verdict's numbers say about the rule that made it.
RULE = "cleanup"


@dataclass(frozen=True)
class Scope:
    """What a cleanup is about: the selected work pools, and by which rules at which moment.

    It has no slots, because it keeps the names, which are asked for with every run.
    """

    selection: Selection
    pools: tuple[PoolFacts, ...]
    retention: Retention
    protection: Protection
    now: datetime

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The selected work pools that may be touched."""
        return tuple(pool.name for pool in self.pools if pool.name not in self.protection.pools)

    def has(self, pool: str | None) -> bool:
        """Whether what belongs to this pool, or to none, may be touched."""
        return self.includes_no_pool if pool is None else pool in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.names)

    @property
    def includes_no_pool(self) -> bool:
        """Whether it is also about what belongs to no work pool."""
        return self.selection.includes_no_pool


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at one kind found: its verdicts, those to be acted on first coming first.

    `left` counts by reason what is left alone and too much to list.
    """

    verdicts: tuple[Verdict, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)


# Shared by the verdicts that have no numbers, which may be a hundred thousand.
ONLY_THE_RULE: Mapping[str, Mapping[str, Number]] = {kind: {RULE: kind} for kind in KINDS}


def verdict(kind: CleanupKind, verb: Verb, target: Target, reason: str, **numbers: Number) -> Verdict:
    """What shall happen to something that a kind's rule looked at."""
    return Verdict(target, verb, reason, {RULE: kind, **numbers} if numbers else ONLY_THE_RULE[kind])

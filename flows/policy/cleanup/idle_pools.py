"""Which work pools nothing uses: marked first, and deleted if still idle when their time of grace is over.

The mark is a note in front of the pool's own description, where a person who looks at the pool sees it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.policy.cleanup.kinds import Found, Scope, verdict
from flows.policy.facts import PoolFacts
from flows.policy.lease import BETWEEN, read_note, without
from flows.policy.plan import Kind, Target, Verb, Verdict
from flows.policy.words import counted, lasting

OPENING = "[Poolkeeper: idle"
MARK = re.compile(
    r"\[Poolkeeper: idle, marked (?P<at>[\d: -]{19}) UTC\. "
    r"Deleted after (?P<until>[\d: -]{19}) UTC unless it is used\.\]"
)
MOMENT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class SeenPool:
    """A work pool and what uses it: its deployments, the runs that have not ended, those that were due or ended within
    the idle time, and when a worker of it was last seen."""

    pool: PoolFacts
    deployments: int = 0
    unfinished: int = 0
    recent: int = 0
    worker_seen_at: datetime | None = None

    @property
    def target(self) -> Target:
        return Target(Kind.POOL, self.pool.name, self.pool.id)


@dataclass(frozen=True, slots=True)
class Mark:
    """When a pool was marked, and from when on it may be deleted."""

    at: datetime
    until: datetime


def decide_idle_pools(pools: Sequence[SeenPool], scope: Scope) -> Found:
    """Mark, unmark or delete, by name; pools that are in use and bear no mark are counted."""
    verdicts: list[Verdict] = []
    left: Counter[str] = Counter()
    for seen in sorted(pools, key=lambda each: each.pool.name):
        use = in_use(seen, scope)
        if use and OPENING not in (seen.pool.description or ""):
            left["in use"] += 1
        else:
            verdicts.append(_decide(seen, use, scope))
    return Found(tuple(verdicts), left)


def _decide(seen: SeenPool, use: str, scope: Scope) -> Verdict:
    mark = read_mark(seen.pool.description)
    if reason := scope.protection.reason(seen.target):
        return _leave(seen, reason)
    if read_note(seen.pool.description):
        return _leave(seen, "idle, but pool-auto-pause has paused it and will bring it back")
    if mark is None and OPENING in (seen.pool.description or ""):
        return _leave(seen, "the note on it that it is idle was changed and cannot be read; take it away")
    if use:
        return verdict("idle-pools", Verb.CHANGE, seen.target, f"no longer idle: {use}; its mark is taken away")
    if mark is None:
        until = scope.now + scope.retention.grace
        reason = f"nothing has used it for {lasting(scope.retention.idle)}; marked, deleted after {until:{MOMENT}} UTC"
        return verdict("idle-pools", Verb.CHANGE, seen.target, reason)
    return _after_grace(seen, mark, scope)


def _after_grace(seen: SeenPool, mark: Mark, scope: Scope) -> Verdict:
    until = max(mark.until, mark.at + scope.retention.grace)
    if scope.now <= until:
        return _leave(
            seen, f"idle, marked {mark.at:{MOMENT}} UTC; deleted after {until:{MOMENT}} UTC unless it is used"
        )
    return verdict("idle-pools", Verb.DELETE, seen.target, f"idle since it was marked {mark.at:{MOMENT}} UTC")


def in_use(seen: SeenPool, scope: Scope) -> str:
    """What uses a pool, or "" where nothing does."""
    since = scope.now - scope.retention.idle
    if seen.deployments:
        return counted(seen.deployments, "deployment")
    if seen.unfinished:
        return f"{counted(seen.unfinished, 'run')} not ended"
    if seen.recent:
        return f"{counted(seen.recent, 'run')} within {lasting(scope.retention.idle)}"
    if seen.worker_seen_at is not None and seen.worker_seen_at >= since:
        return f"a worker was seen {lasting(scope.now - seen.worker_seen_at)} ago"
    if seen.pool.created_at is None or seen.pool.created_at >= since:
        return f"made within {lasting(scope.retention.idle)}"
    return ""


def read_mark(description: str | None) -> Mark | None:
    """The mark in a description; None where there is none, or somebody has changed it."""
    found = MARK.search(description or "")
    try:
        return Mark(_moment(found["at"]), _moment(found["until"])) if found else None
    except ValueError:
        return None


def with_mark(description: str | None, scope: Scope) -> str:
    """The description with a mark of now in front."""
    until = scope.now + scope.retention.grace
    mark = f"[Poolkeeper: idle, marked {scope.now:{MOMENT}} UTC. Deleted after {until:{MOMENT}} UTC unless it is used.]"
    return mark if description is None else mark + BETWEEN + description


def without_mark(description: str | None) -> str | None:
    """The owner's own description, as it was."""
    return without(MARK, description)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, MOMENT).replace(tzinfo=UTC)


def _leave(seen: SeenPool, reason: str) -> Verdict:
    return verdict("idle-pools", Verb.LEAVE, seen.target, reason)

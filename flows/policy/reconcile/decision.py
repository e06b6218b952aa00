"""What pool-reconcile does: a verdict for every work pool, and for each work queue of those in the spec."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.policy.plan import ActionLimit, Kind, Plan, Target, Verb
from flows.policy.reconcile.differences import PROTECTED, UNMANAGED, Step
from flows.policy.reconcile.facts import NEW_QUEUE, Created, PoolThere, ReconcileFacts
from flows.policy.reconcile.pools import decide_pool
from flows.policy.reconcile.queues import decide_queues
from flows.policy.reconcile.templates import behind

JOB = "pool-reconcile"


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan, its steps by target, and how many there are of what shares are judged of.

    `emptiness` says why nothing is decided, where it is so. `behind` has by work pool what the present default template
    of its type has that its own lacks.
    """

    plan: Plan
    steps: Mapping[Target, Step] = field(default_factory=dict)
    there: Mapping[Kind, int] = field(default_factory=dict)
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    emptiness: str = ""

    def check(self, limit: ActionLimit) -> None:
        """Raise `UnsafePlan` where the plan goes over the limit. Shares are judged of what changes or goes: what is
        created takes nothing from what is there."""
        limit.check(self.plan, {})
        rest = tuple(each for each in self.plan.verdicts if each.verb is not Verb.CREATE)
        limit.check(Plan(self.plan.job, rest), self.there)

    def drift(self, done: frozenset[Target] = frozenset()) -> dict[str, str]:
        """In words how each work pool of the spec differs from it, but for what is done meanwhile."""
        found: dict[str, list[str]] = {}
        for target, step in self.steps.items():
            if step.differences and step.verb is not Verb.DELETE and target not in done:
                what = "" if target.kind is Kind.POOL else f"work queue {target.name.partition('/')[2]}: "
                found.setdefault(str(target.pool), []).append(what + step.reason)
        return {pool: "; ".join(words) for pool, words in found.items()}


def decide_reconcile(facts: ReconcileFacts) -> Decision:
    """A spec without work pools means nothing, whatever else is asked for."""
    if not facts.spec.pools:
        words = f"{facts.path} names no work pool, which means nothing: nothing was looked at, nothing is pruned."
        return Decision(Plan(JOB, ()), emptiness=words)
    steps = [*_written(facts), *_unwritten(facts)]
    queues = sum(len(facts.pools[pool.name].queues) for pool in facts.spec.pools if pool.name in facts.pools)
    return Decision(
        Plan(JOB, tuple(step.verdict for step in steps)),
        {step.target: step for step in steps},
        {Kind.POOL: len(facts.pools), Kind.QUEUE: queues},
        _behind(facts),
    )


def _written(facts: ReconcileFacts) -> Iterator[Step]:
    """The work pools of the spec, each followed by its queues."""
    for pool in sorted(facts.spec.pools, key=lambda each: each.name):
        there = facts.pools.get(pool.name)
        protected = facts.protection.reason(_target(pool.name, there))
        if protected:
            yield Step(_target(pool.name, there), Verb.LEAVE, f"{protected}, and no spec changes that")
            continue
        yield decide_pool(pool, facts)
        for step in decide_queues(pool, there.queues if there else (NEW_QUEUE,)):
            if pool.protected and there and step.verb is Verb.CHANGE:
                yield Step(step.target, Verb.LEAVE, f"{PROTECTED}: {step.reason}", step.differences)
            else:
                yield step


def _unwritten(facts: ReconcileFacts) -> Iterator[Step]:
    """The work pools that are not in the spec; those that go come last."""
    written = {pool.name for pool in facts.spec.pools}
    steps = [_unmanaged(pool, facts) for name, pool in sorted(facts.pools.items()) if name not in written]
    yield from sorted(steps, key=lambda step: step.verb is Verb.DELETE)


def _unmanaged(pool: PoolThere, facts: ReconcileFacts) -> Step:
    target, known = _target(pool.name, pool), facts.created.get(pool.id)
    if reason := facts.protection.reason(target):
        return Step(target, Verb.LEAVE, f"{UNMANAGED}; {reason}")
    if known is None:
        return Step(target, Verb.LEAVE, UNMANAGED)
    made = f"created from {known.spec} on {known.created_at:%Y-%m-%d}"
    if known.spec != facts.path:
        return Step(target, Verb.LEAVE, f"{UNMANAGED}; {made}")
    gone, kept = f"{made}, and no longer in it", _kept(pool, known, facts)
    return Step(target, Verb.LEAVE if kept else Verb.DELETE, f"{gone}{kept}")


def _kept(pool: PoolThere, known: Created, facts: ReconcileFacts) -> str:
    """Why a work pool that has left the spec is not pruned."""
    if known.protected:
        return "; it was protected when it was last in it"
    if not facts.prune:
        return "; prune is off"
    use = facts.uses.get(pool.id, "")
    return f", but something depends on it: {use}" if use else ""


def _target(name: str, there: PoolThere | None) -> Target:
    return Target(Kind.POOL, name, there.id if there else "", pool=name)


def _behind(facts: ReconcileFacts) -> dict[str, tuple[str, ...]]:
    found: dict[str, Any] = {}
    for name, pool in sorted(facts.pools.items()):
        lacking = behind(pool.template, facts.defaults[pool.type][0]) if facts.defaults.get(pool.type) else ()
        if lacking and name not in facts.protection.pools:
            found[name] = lacking
    return found

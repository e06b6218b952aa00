"""One step of a person's hand on one work pool, and the words that all of them share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.policy.case import Changes
from flows.policy.facts import PoolFacts
from flows.policy.lifecycle.request import Hand
from flows.policy.plan import Kind, Number, Target, Verb, Verdict

MOMENT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to the pool, why, and what to set on it."""

    verb: Verb
    reason: str
    changes: Changes = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def verdict(self, pool: PoolFacts) -> Verdict:
        return Verdict(pool_target(pool), self.verb, self.reason, self.numbers)


def pool_target(pool: PoolFacts) -> Target:
    return Target(Kind.POOL, pool.name, pool.id, pool=pool.name)


def as_sentence(hand: Hand) -> str:
    """Why, for a note that goes on after it."""
    reason = hand.request.reason.strip()
    return reason if reason[-1:] in ".!?" else f"{reason}."


def who(hand: Hand) -> dict[str, Number]:
    """The numbers of every step that changes something."""
    return {"actor": hand.by}

"""What a person wants of one pool's circuit, whatever its runs do, and how that pool is to come back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import ValidationError

from flows.policy.bad_input import BadInput
from flows.policy.recovery import Recovery

# The Prefect variable in which people write it, such as
# {"etl-pool": "open", "gpu-pool": "disabled", "sensors": {"cooldown_minutes": 2, "backlog": "latest"}}.
OVERRIDES = "poolkeeper_overrides"
CIRCUIT = "circuit"


class Wish(StrEnum):
    """`auto`: as its runs are. `open`: paused until the wish is taken back. `disabled`: left alone."""

    AUTO = "auto"
    OPEN = "open"
    DISABLED = "disabled"


class UnreadableOverrides(BadInput):
    """The variable does not hold what it should."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Wishes by pool name, and what of the recovery is otherwise for a pool.

    `misread` are pools of which it is not understood what is wanted: nothing of theirs is paused, and what is paused
    already comes back as usual.
    """

    wishes: Mapping[str, Wish] = field(default_factory=dict)
    recoveries: Mapping[str, Recovery] = field(default_factory=dict)
    misread: frozenset[str] = frozenset()

    def of(self, pool: str) -> Wish:
        return self.wishes.get(pool, Wish.AUTO)

    def recovery(self, pool: str, usual: Recovery) -> Recovery:
        """The usual recovery, with what is written for this pool."""
        own = self.recoveries.get(pool)
        return usual if own is None else usual.model_copy(update=own.model_dump(exclude_unset=True))


def read_overrides(value: object) -> Overrides:
    """The variable's value, None where there is no such variable."""
    if value is None:
        return Overrides()
    if not isinstance(value, Mapping):
        raise UnreadableOverrides(
            f"The variable {OVERRIDES!r} does not hold a JSON object such as "
            '{"etl-pool": "disabled"}. Nothing was done. Correct it on the Variables page, or delete it.'
        )
    wishes: dict[str, Wish] = {}
    recoveries: dict[str, Recovery] = {}
    misread: set[str] = set()
    for pool, wanted in value.items():
        settings = dict(wanted) if isinstance(wanted, Mapping) else {CIRCUIT: wanted}
        try:
            wish, recovery = Wish(settings.pop(CIRCUIT, Wish.AUTO)), Recovery.model_validate(settings)
        except (ValidationError, ValueError):
            misread.add(pool)
        else:
            wishes[pool], recoveries[pool] = wish, recovery
    return Overrides(wishes, recoveries, frozenset(misread))

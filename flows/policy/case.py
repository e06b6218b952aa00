"""What decides about one target, and what is decided: the words that the rules of the circuit share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.policy.circuit import Circuit, Gate
from flows.policy.failure_threshold import NO_RUNS, FailureThreshold, Tally
from flows.policy.override import Wish
from flows.policy.plan import Number, Verb
from flows.policy.recovery import Recovery

Changes = dict[str, bool | int | str | None]
# "Now" is told in whole seconds, rounded up. What starts or ends from here on counts from the second's beginning.
ROUNDED = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that decides about one target.

    `blame` says in words why it is failing, "" where it is not; `health` how it is otherwise. `probes` are the runs
    that started and ended since it is half-open.
    """

    gate: Gate
    circuit: Circuit | None = None
    wish: Wish = Wish.AUTO
    blame: str = ""
    health: str = ""
    tally: Tally | None = None
    probes: Tally = NO_RUNS


@dataclass(frozen=True, slots=True)
class Rules:
    """What the turns are decided by. `by` is the run that decides; it makes the names of leases its own."""

    threshold: FailureThreshold
    recovery: Recovery
    now: datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens to the target. `circuit` None: nothing is to be remembered. `changes` is what to set on it.

    `tidies`: it only loses a note that nothing is behind any more, and the circuit stays as it is.
    """

    verb: Verb
    reason: str
    circuit: Circuit | None = None
    changes: Changes = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)
    tidies: bool = False

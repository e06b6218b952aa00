"""What auto-pause saw of pools and deployments, and what it decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flows.policy.backlog import WaitingRun, to_drop
from flows.policy.case import Rules, Turn
from flows.policy.circuit import Gate, Phase
from flows.policy.failure_threshold import NO_RUNS, Tally
from flows.policy.override import Overrides
from flows.policy.plan import Kind, Plan, Target, UnsafePlan, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import Selection
from flows.policy.settling import Settled

NOTHING_KEPT = Settled()


@dataclass(frozen=True, slots=True)
class Watched:
    """A pool or deployment with what is known of its circuit. `waiting` is read where its pause is over.

    `tally` None: its runs were not counted, because too few of them failed to matter. `failed` is known always.
    """

    gate: Gate
    settled: Settled = NOTHING_KEPT
    failed: int = 0
    last_failed_at: datetime | None = None
    tally: Tally | None = None
    probes: Tally = NO_RUNS
    waiting: tuple[WaitingRun, ...] = ()

    @property
    def is_standing(self) -> bool:
        """Whether it is paused, or on trial, for its runs already."""
        circuit = self.settled.circuit
        return circuit is not None and circuit.phase is not Phase.CLOSED and not circuit.forced


@dataclass(frozen=True, slots=True)
class WatchedPool:
    """A pool, and those of its deployments that have a circuit or enough failed runs."""

    own: Watched
    deployments: tuple[Watched, ...] = ()


@dataclass(frozen=True, slots=True)
class AutoPauseFacts:
    """Every pool of the server that was asked for or is failing. `there` is how many there are of each kind.

    `strays` are deployments that stand paused although their pool is gone; `gone` are kinds and ids of what has a
    circuit and is there no more.
    """

    selection: Selection
    pools: tuple[WatchedPool, ...]
    overrides: Overrides
    protection: Protection
    there: Mapping[Kind, int]
    strays: tuple[Watched, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """What was seen of a target, and the turn that was decided from it, by which rules."""

    watched: Watched
    turn: Turn
    rules: Rules

    @property
    def dropped(self) -> tuple[WaitingRun, ...]:
        """The runs that are cancelled before it is resumed."""
        return to_drop(self.watched.waiting, self.rules.recovery.backlog) if self.turn.verb is Verb.RESUME else ()

    @property
    def opens(self) -> bool:
        """Whether this pauses something, because of its runs, that was not paused for them before."""
        before, after = self.watched.settled.circuit, self.turn.circuit
        is_new = before is None or before.phase is Phase.CLOSED
        return self.turn.verb is Verb.PAUSE and is_new and after is not None and not after.forced


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan, what is behind its verdicts, and in words why nothing of it is paused, where that is so."""

    plan: Plan
    turns: Mapping[Target, Decided]
    incident: str = ""

    def check(self) -> None:
        """Raise `UnsafePlan` where nothing is to be paused because too much fails at once."""
        if self.incident:
            raise UnsafePlan(self.incident)

    def is_limited(self, verdict: Verdict) -> bool:
        """What ends a pause is never refused."""
        return verdict.target.kind is not Kind.RUN and self.turns[verdict.target].opens

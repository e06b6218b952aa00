"""When it is worth another look sooner than the sweep's: a pause is to end, or too few runs have ended to judge."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flows.policy.circuit import Circuit, Phase
from flows.policy.plan import Verb
from flows.policy.watched import Decided

LOOK_AGAIN = timedelta(seconds=30)
# How soon to look what became of the first probe runs.
TRIAL = timedelta(seconds=30)
# A server may tell its time so much late; a look that comes earlier finds the pause not over.
TOLD_LATE = timedelta(seconds=2)
# As long as failures keep coming at least this often.
STILL_COMING = timedelta(seconds=90)
FEWEST = 2
# While probe runs are awaited, each look comes after as long again; the sweep does the rest.
FIRST_PROBES, LAST_PROBES = timedelta(minutes=1), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Look:
    """When to look again. The same look has the same `key`, so that it is booked once."""

    at: datetime
    key: str


def first_look(circuit: Circuit) -> Look | None:
    """The look after this turn, or None: the sweep is soon enough."""
    if circuit.until is not None:
        return Look(circuit.until + TOLD_LATE, circuit.tag)
    return Look(circuit.since + TRIAL, circuit.tag) if circuit.phase is Phase.HALF_OPEN else None


def next_look(decided: Decided, now: datetime, *, is_sweep: bool) -> Look | None:
    """The look after one that left it alone, or None: the sweep is soon enough."""
    circuit = decided.turn.circuit
    if decided.turn.verb is not Verb.LEAVE:
        return None
    if circuit is not None and circuit.phase is Phase.OPEN:
        return _look_at_its_end(circuit, now)
    if is_sweep:
        return None
    if circuit is not None and circuit.phase is Phase.HALF_OPEN:
        waited = now - circuit.since
        at = now + max(FIRST_PROBES, waited) if waited < LAST_PROBES else None
    else:
        at = now + LOOK_AGAIN if _looks_failing(decided, now) else None
    slot = LOOK_AGAIN.total_seconds()
    return Look(at, f"{decided.watched.gate.target.id} {at.timestamp() // slot:.0f}") if at else None


def _look_at_its_end(circuit: Circuit, now: datetime) -> Look | None:
    """Whoever began the pause may have died before this was booked, and what was booked may have come too early."""
    if circuit.until is None or circuit.until <= now:
        return None
    is_early = circuit.until - now < LOOK_AGAIN
    return Look(circuit.until + TOLD_LATE, f"{circuit.tag} again" if is_early else circuit.tag)


def _looks_failing(decided: Decided, now: datetime) -> bool:
    """Whether it would be failing already, had more runs ended."""
    tally, last, threshold = decided.watched.tally, decided.watched.last_failed_at, decided.rules.threshold
    if tally is None or last is None or now - last > STILL_COMING:
        return False
    too_few = tally.finished < threshold.minimum_runs
    return too_few and tally.failed >= FEWEST and tally.failed / tally.finished >= threshold.failure_rate

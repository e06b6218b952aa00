"""When it is worth another look sooner than the sweep's: too few runs have ended to judge."""

from datetime import datetime, timedelta

from flows.policy.circuit import Phase
from flows.policy.plan import Verb
from flows.policy.watched import Decided

LOOK_AGAIN = timedelta(seconds=30)
# As long as failures keep coming at least this often.
STILL_COMING = timedelta(seconds=90)
FEWEST = 2
# While probe runs are awaited, each look comes after as long again; the sweep does the rest.
FIRST_PROBES, LAST_PROBES = timedelta(minutes=1), timedelta(minutes=10)


def next_look(decided: Decided, now: datetime) -> datetime | None:
    """When to look again at what was left alone, or None: the sweep is soon enough."""
    circuit = decided.turn.circuit
    if decided.turn.verb is not Verb.LEAVE:
        return None
    if circuit is not None and circuit.phase is Phase.HALF_OPEN:
        waited = now - circuit.since
        return now + max(FIRST_PROBES, waited) if waited < LAST_PROBES else None
    return now + LOOK_AGAIN if _looks_failing(decided, now) else None


def _looks_failing(decided: Decided, now: datetime) -> bool:
    """Whether it would be failing already, had more runs ended."""
    tally, last, threshold = decided.watched.tally, decided.watched.last_failed_at, decided.rules.threshold
    if tally is None or last is None or now - last > STILL_COMING:
        return False
    too_few = tally.finished < threshold.minimum_runs
    return too_few and tally.failed >= FEWEST and tally.failed / tally.finished >= threshold.failure_rate

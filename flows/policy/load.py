"""How many slots are in use over time, and when none is. Times are seconds from now, if not said otherwise."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
# Up to so long ahead, in hours, load is told for stretches of so many hours.
STRETCHES = ((72, 1), (216, 3), (744, 12))

# A span of time in which one slot is held: from, to.
Span = tuple[float, float]


def steps(spans: Iterable[Span]) -> list[tuple[float, int]]:
    """The moments at which the number of slots in use changes, each with the number from then on."""
    events = sorted(event for begin, end in spans for event in ((begin, 1), (end, -1)))
    found: list[tuple[float, int]] = []
    used = 0
    for at, change in events:
        used += change
        if found and found[-1][0] == at:
            found.pop()
        found.append((at, used))
    return found


def peaks(spans: Iterable[Span], edges: Sequence[float]) -> tuple[int, ...]:
    """The most slots in use at once from each edge to the next."""
    changes = steps(spans)
    found, used, position = [], 0, 0
    for begin, end in pairwise(edges):
        while position < len(changes) and changes[position][0] <= begin:
            used = changes[position][1]
            position += 1
        most = used
        while position < len(changes) and changes[position][0] < end:
            used = changes[position][1]
            most = max(most, used)
            position += 1
        found.append(most)
    return tuple(found)


def quiet(spans: Iterable[Span], until: float, shortest: float) -> tuple[Span, ...]:
    """The stretches from now to `until`, at least `shortest` long, in which no slot is in use; the longest first."""
    changes = [(0.0, 0), *steps(spans), (until, 0)]
    found: list[Span] = []
    for (at, used), (then, _) in pairwise(changes):
        begin, end = max(0.0, at), min(until, then)
        if not used and end - begin >= shortest:
            found.append((begin, end))
    return tuple(sorted(found, key=lambda span: (span[0] - span[1], span[0])))


def stretches(now: datetime, hours: int, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants between which load is told: from now, over the full hours of a zone's clocks, to so much later."""
    length = next(length for most, length in STRETCHES if hours <= most)
    until, local = now + timedelta(hours=hours), now.astimezone(zone)
    full = local.replace(hour=local.hour - local.hour % length, minute=0, second=0, microsecond=0).astimezone(UTC)
    found = [now]
    while (full := full + length * HOUR) < until:
        if full > now:
            found.append(full)
    return (*found, until)

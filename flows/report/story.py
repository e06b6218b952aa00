"""The story of circuits over time, as a picture: a band for each, coloured by its phase."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from flows.policy.circuit import Circuit, Phase
from flows.report.bands import BAND, BOTTOM, GAP, LONGEST_NAME, NAMES, SHOWN, TOP, Axis, band, legend, line_of_now
from flows.report.markdown import plain
from flows.report.picture import image, sheet, words

# What lies further back is not drawn, so that what is going on can be seen.
DRAWN = timedelta(hours=12)
SHORTEST = timedelta(minutes=2)
# The room that a time takes beside the one of now.
BESIDE_NOW = 130.0
KINDS: Mapping[str, str] = {Phase.OPEN: "above", Phase.HALF_OPEN: "trial", Phase.CLOSED: "quiet"}


def story_picture(circuits: Sequence[Circuit], now: datetime) -> str:
    """The picture as HTML for a report, or nothing where there is nothing to tell."""
    told = [circuit for circuit in circuits if circuit.story and circuit.story[-1].at > now - DRAWN]
    shown = sorted(told, key=lambda circuit: circuit.story[-1].at, reverse=True)[:SHOWN]
    if not shown:
        return ""
    first = min(circuit.story[0].at for circuit in shown)
    axis = Axis(
        begin=max(now - DRAWN, min(now - SHORTEST, first)),
        now=now,
        end=max([now, *(circuit.until for circuit in shown if circuit.until)]),
    )
    bottom = TOP + len(shown) * (BAND + GAP)
    parts = [words(16, 20, "Circuits", kind="title"), *legend(KINDS)]
    for row, circuit in enumerate(shown):
        y = TOP + row * (BAND + GAP)
        parts += [words(16, y + BAND - 4, plain(circuit.name, LONGEST_NAME)), *_bands(circuit, axis, y)]
    parts.append(line_of_now(axis, bottom))
    parts += _times(axis, bottom + 18)
    return image(sheet("Circuits", parts, bottom + BOTTOM), _alternative(shown))


def _bands(circuit: Circuit, axis: Axis, y: int) -> list[str]:
    """From when to when it was in which phase; the present one goes on until its lease ends, or now."""
    ends = [*(moment.at for moment in circuit.story[1:]), max(axis.now, circuit.until or axis.now)]
    found = []
    for moment, until in zip(circuit.story, ends, strict=True):
        if until > axis.begin:
            found.append(band(axis.x(max(moment.at, axis.begin)), axis.x(until), y, KINDS[moment.phase]))
    return found


def _times(axis: Axis, y: float) -> list[str]:
    """When now is, and the ends where there is room beside it."""
    at, ends = axis.x(axis.now), axis.x(axis.end)
    is_last = ends - at < BESIDE_NOW
    found = [words(at, y, f"now {axis.now:%H:%M} UTC", anchor="end" if is_last else "middle")]
    if at - NAMES > BESIDE_NOW:
        found.append(words(NAMES, y, f"{axis.begin:%H:%M}"))
    if not is_last:
        found.append(words(ends, y, f"{axis.end:%H:%M}", anchor="end"))
    return found


def _alternative(shown: Sequence[Circuit]) -> str:
    return "; ".join(f"{circuit.name} is {circuit.phase} since {circuit.since:%H:%M} UTC" for circuit in shown)

"""Bands over time with a name in front of each, which the pictures of circuits and of runs to come are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flows.report.picture import RIGHT, WIDTH, words

# So many bands at most, so that they can be taken in at one look.
SHOWN = 12
BAND, GAP, TOP, BOTTOM, NAMES = 16, 8, 36, 28, 200
LONGEST_NAME = 22
# However short, a band can be seen.
THINNEST = 2.0
# The room of a word of the legend, with its square.
IN_LEGEND = 96


@dataclass(frozen=True, slots=True)
class Axis:
    """The stretch of time that is drawn, and where in it now is."""

    begin: datetime
    now: datetime
    end: datetime

    def x(self, at: datetime) -> float:
        return NAMES + (WIDTH - RIGHT - NAMES) * ((at - self.begin) / (self.end - self.begin))


def band(start: float, stop: float, y: float, kind: str, height: float = BAND) -> str:
    """A band from one place on the axis to another, in the middle of the line that begins at `y`."""
    place = f"x='{start:.1f}' y='{y + (BAND - height) / 2:g}' width='{max(THINNEST, stop - start):.1f}'"
    return f"<rect class='{kind}' {place} height='{height:g}' rx='2'/>"


def line_of_now(axis: Axis, bottom: float) -> str:
    at = f"{axis.x(axis.now):.1f}"
    return f"<line class='line' x1='{at}' x2='{at}' y1='{TOP - 4}' y2='{bottom}'/>"


def legend(kinds: Mapping[str, str]) -> list[str]:
    """What the colours mean: the word of each kind, at the right end of the title's line."""
    parts = []
    for place, (word, kind) in enumerate(kinds.items()):
        x = WIDTH - RIGHT - (len(kinds) - place) * IN_LEGEND
        parts.append(f"<rect class='{kind}' x='{x}' y='11' width='12' height='10' rx='2'/>")
        parts.append(words(x + 17, 20, word))
    return parts

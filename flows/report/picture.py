"""Pictures for reports: SVG that brings its own background and follows the theme of the page it is on."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

from flows.report.markdown import plain

# The column of an artifact's page. On a small screen the newer UI makes it a sixth narrower, and words with it: hence
# their size.
WIDTH, HEIGHT = 700, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 16, 34, 26
# Told apart with any colour vision, and by their brightness alone. Both UIs let a picture follow their theme.
STYLE = """
text{font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:13px;fill:#1f2933}
.paper{fill:#fbfcfd;stroke:#d5dbe1}.grid{stroke:#d5dbe1}.line{stroke:#1f2933;stroke-width:1.5;stroke-dasharray:6 4}
.title{font-size:15px;font-weight:600}.within{fill:#56a0d3}.above{fill:#c8500a}
.trial{fill:#f0c541}.quiet{fill:#d5dbe1}
@media (prefers-color-scheme:dark){text{fill:#e4e9ee}.paper{fill:#161b22;stroke:#39424e}.grid{stroke:#39424e}
.line{stroke:#e4e9ee}.within{fill:#3f83b5}.above{fill:#f58b45}.trial{fill:#b58a00}.quiet{fill:#39424e}}
"""
# How much room a character of a label takes, and the least between two labels.
CHARACTER, BETWEEN = 7.7, 12
LONGEST_TITLE = 60


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each stretch of time, with its label; what is above the limit stands out. None: there is no limit."""

    title: str
    labels: Sequence[str]
    values: Sequence[int]
    limit: int | None


def image(svg: str, alternative: str) -> str:
    """The picture as HTML that both of Prefect's UIs show inside Markdown."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(plain(alternative), quote=True)}" src="data:image/svg+xml;base64,{data}">'


def draw(bars: Bars) -> str:
    """The bars as an SVG."""
    highest = max(1, *bars.values, bars.limit or 0)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(bars.values))
    parts = [
        words(LEFT, 20, plain(bars.title, LONGEST_TITLE), kind="title"),
        *(_grid(value, highest) for value in sorted({0, highest // 2, highest})),
    ]
    every = ceil((max(map(len, bars.labels), default=0) * CHARACTER + BETWEEN) / step)
    for position, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        x = LEFT + position * step
        within = value if bars.limit is None else min(value, bars.limit)
        parts.append(_bar(x, step, 0, within, highest, "within"))
        parts.append(_bar(x, step, within, value, highest, "above"))
        if position % every == 0:
            parts.append(words(x + step / 2, HEIGHT - 9, label, anchor="middle"))
    parts.append(_limit(bars.limit, highest))
    return sheet(bars.title, parts)


def sheet(title: str, parts: Sequence[str], height: int = HEIGHT) -> str:
    """An SVG of these parts on a paper of its own."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' "
        f"role='img'><title>{escape(plain(title))}</title><style>{STYLE}</style>"
        f"<rect class='paper' width='{WIDTH}' height='{height}' rx='8'/>{''.join(parts)}</svg>"
    )


def _limit(limit: int | None, highest: int) -> str:
    if limit is None:
        return words(WIDTH - RIGHT, 20, "no limit", anchor="end")
    y = _height(limit, highest)
    line = f"<line class='line' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>"
    return line + words(WIDTH - RIGHT, 20, f"– – limit {limit}", anchor="end")


def _height(value: float, highest: int) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest


def _bar(x: float, step: float, bottom: int, top: int, highest: int, kind: str) -> str:
    if top <= bottom:
        return ""
    y, end = _height(top, highest), _height(bottom, highest)
    gap = min(2.0, step / 5)
    place = f"x='{x + gap / 2:.1f}' y='{y:.1f}' width='{step - gap:.1f}' height='{end - y:.1f}'"
    return f"<rect class='{kind}' {place}/>"


def _grid(value: int, highest: int) -> str:
    y = _height(value, highest)
    line = f"<line class='grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>"
    return line + words(LEFT - 8, y + 4, str(value), anchor="end")


def words(x: float, y: float, what: str, *, kind: str = "", anchor: str = "start") -> str:
    return f"<text class='{kind}' x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(what)}</text>"

"""The next hours as a picture: of each deployment when its runs wait, run, or are stopped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flows.policy.forecast import Expectation, Standing
from flows.policy.foreseen import Preview
from flows.policy.words import counted
from flows.report.bands import BAND, BOTTOM, GAP, LONGEST_NAME, SHOWN, TOP, Axis, band, legend, line_of_now
from flows.report.markdown import plain
from flows.report.picture import image, sheet, words

LONGEST = timedelta(hours=6)
HOUR = timedelta(hours=1)
# Waiting is drawn thinner, and what is stopped as strokes: the colours alone need not tell them apart.
WAITING = BAND / 2
STROKE = 3.0
# Bands with less between them are drawn as one.
APART = 1.5
# The room that the time of a full hour takes.
ROOM = 60
# A run that is late or blocked, with no time at which it will start, is stopped.
KINDS = {"runs": "within", "waits": "trial", "stopped": "above"}

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A deployment and those of its runs that fall into the time that is drawn."""

    name: str
    runs: tuple[Expectation, ...]

    @property
    def stopped(self) -> int:
        return sum(map(_is_stopped, self.runs))

    @property
    def waiting(self) -> int:
        return sum(_waits(each) for each in self.runs)


def timeline_picture(preview: Preview, expectations: Sequence[Expectation]) -> str:
    """The picture as HTML for a report, or nothing where no run falls into it. Deployments whose runs are stopped or
    wait are drawn first, then those whose turn it is next, `SHOWN` at most."""
    now = preview.facts.now
    axis = Axis(now, now, min(now + LONGEST, preview.question.until(now)))
    lines = _lines(preview, [each for each in expectations if each.run.due_at < axis.end])
    lines.sort(key=lambda line: (-line.stopped, -line.waiting, line.runs[0].run.due_at, line.name))
    shown = lines[:SHOWN]
    if not shown:
        return ""
    bottom = TOP + len(shown) * (BAND + GAP)
    more = f", {len(shown)} of {counted(len(lines), 'deployment')}" if len(lines) > len(shown) else ""
    title = f"The next {counted(round((axis.end - now) / HOUR), 'hour')}{more}"
    parts = [words(16, 20, title, kind="title"), *legend(KINDS), *_hours(preview, axis, bottom)]
    lengths = preview.lengths
    for row, line in enumerate(shown):
        y = TOP + row * (BAND + GAP)
        parts += [words(16, y + BAND - 4, plain(line.name, LONGEST_NAME)), *_drawn(line, lengths, axis, y)]
    parts.append(line_of_now(axis, bottom))
    return image(sheet(title, parts, bottom + BOTTOM), "; ".join(_told(preview, line) for line in shown))


def _lines(preview: Preview, expectations: Sequence[Expectation]) -> list[Line]:
    found: dict[str, list[Expectation]] = {}
    for each in expectations:
        found.setdefault(each.run.deployment_id or "", []).append(each)
    known = preview.facts.deployments
    return [Line(known[key].name if key in known else "no deployment", tuple(runs)) for key, runs in found.items()]


def _is_stopped(each: Expectation) -> bool:
    return each.expected_start_at is None and each.standing in (Standing.LATE, Standing.BLOCKED)


def _waits(each: Expectation) -> bool:
    return each.expected_start_at is not None and each.standing in (Standing.WILL_WAIT, Standing.LATE)


def _drawn(line: Line, lengths: Mapping[str, timedelta], axis: Axis, y: int) -> Iterator[str]:
    """Its runs, those that wait, and those that are stopped, each where it is in time."""
    running, waiting, stopped = [], [], []
    for each in line.runs:
        due = axis.x(max(each.run.due_at, axis.now))
        if _is_stopped(each):
            stopped.append((due, due + STROKE))
            continue
        # Where nobody can know when it starts, it is drawn where it is due.
        start = each.expected_start_at or each.run.due_at
        length = lengths.get(each.run.deployment_id or "", timedelta(0))
        if _waits(each):
            waiting.append((due, axis.x(min(start, axis.end))))
        if start < axis.end:
            running.append((axis.x(start), axis.x(min(start + length, axis.end))))
    for spans, kind, height in ((waiting, "trial", WAITING), (running, "within", BAND), (stopped, "above", BAND)):
        yield from (band(begin, end, y, kind, height) for begin, end in _joined(spans))


def _joined(spans: Sequence[Span]) -> list[Span]:
    """What overlaps or nearly does as one: a run every minute is a band, and not hundreds of them."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin - found[-1][1] < APART:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _hours(preview: Preview, axis: Axis, bottom: int) -> list[str]:
    """The full hours of the reader's clocks, and now."""
    zone, parts = preview.question.zone, []
    local = axis.now.astimezone(zone)
    hour = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    parts.append(words(axis.x(axis.now), bottom + 18, f"now {local:%H:%M}", anchor="middle"))
    while (hour := hour + HOUR) <= axis.end:
        x = axis.x(hour)
        parts.append(f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' y1='{TOP - 4}' y2='{bottom}'/>")
        if x - axis.x(axis.now) > ROOM and axis.x(axis.end) - x > ROOM / 3:
            parts.append(words(x, bottom + 18, f"{hour.astimezone(zone):%H:%M}", anchor="middle"))
    return parts


def _told(preview: Preview, line: Line) -> str:
    first: datetime = line.runs[0].run.due_at
    parts = [counted(len(line.runs), "run"), f"the first due at {first.astimezone(preview.question.zone):%H:%M}"]
    parts += [f"{line.waiting} wait" if line.waiting != 1 else "1 waits"] if line.waiting else []
    parts += [f"{line.stopped} stopped"] if line.stopped else []
    return f"{line.name}: {', '.join(parts)}"

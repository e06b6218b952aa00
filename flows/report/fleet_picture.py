"""The fleet as a picture: of each work pool how many slots are taken, how much fails, and how much is late."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.report.markdown import plain
from flows.report.page import Row
from flows.report.picture import RIGHT, WIDTH, image, sheet, words

SHOWN = 12
LINE, BAR, TOP, BOTTOM = 24, 12, 52, 12
LONGEST_NAME = 24
NAME_AT, SLOTS_AT, FAILED_AT, LATE_AT = 16, 210, 430, WIDTH - RIGHT
TRACK = 100


@dataclass(frozen=True, slots=True)
class PoolLine:
    """What is drawn of a work pool. `limit` None: there is none."""

    name: str
    active: int
    limit: int | None
    finished: int
    failed: int
    late: int

    @property
    def taken(self) -> float:
        """Which share of its slots is taken; a limit of 0 leaves none."""
        return 1.0 if self.limit == 0 else min(1.0, self.active / self.limit) if self.limit else 0.0

    @property
    def failing(self) -> float:
        return self.failed / self.finished if self.finished else 0.0


def fleet_picture(rows: Sequence[Row]) -> str:
    """The picture as HTML for a report, or nothing where there is no work pool. The worst are drawn, `SHOWN` at most.

    `rows` are those of the inventory's table.
    """
    lines = sorted(map(_line, rows), key=lambda each: (-each.failing, -each.late, -each.taken, -each.active, each.name))
    shown = lines[:SHOWN]
    if not shown:
        return ""
    more = f" (the worst {len(shown)} of {len(lines)})" if len(lines) > len(shown) else ""
    heading = (words(NAME_AT, 20, f"Work pools{more}", kind="title"), *_headings())
    height = TOP + len(shown) * LINE + BOTTOM
    drawn = [part for place, each in enumerate(shown) for part in _drawn(each, TOP + place * LINE)]
    return image(sheet("Work pools", [*heading, *drawn], height), "; ".join(map(_told, shown)))


def _line(row: Row) -> PoolLine:
    limit = row["concurrency_limit"]
    return PoolLine(
        name=str(row["pool"]),
        active=int(row["active"] or 0),
        limit=None if limit is None else int(limit),
        finished=int(row["finished"] or 0),
        failed=int(row["failed"] or 0),
        late=int(row["late"] or 0),
    )


def _headings() -> list[str]:
    return [
        words(SLOTS_AT, 40, "slots taken"),
        words(FAILED_AT, 40, "runs failed"),
        words(LATE_AT, 40, "late", anchor="end"),
    ]


def _drawn(each: PoolLine, y: int) -> list[str]:
    limit = "no limit" if each.limit is None else str(each.limit)
    return [
        words(NAME_AT, y + BAR - 1, plain(each.name, LONGEST_NAME)),
        *_track(SLOTS_AT, y, each.taken, "within"),
        words(SLOTS_AT + TRACK + 8, y + BAR - 1, f"{each.active} / {limit}"),
        *_track(FAILED_AT, y, each.failing, "above"),
        words(FAILED_AT + TRACK + 8, y + BAR - 1, f"{each.failed} of {each.finished}"),
        words(LATE_AT, y + BAR - 1, str(each.late), anchor="end"),
    ]


def _track(x: int, y: int, share: float, kind: str) -> list[str]:
    track = f"<rect class='quiet' x='{x}' y='{y}' width='{TRACK}' height='{BAR}' rx='3'/>"
    filled = f"<rect class='{kind}' x='{x}' y='{y}' width='{TRACK * share:.1f}' height='{BAR}' rx='3'/>"
    return [track, filled] if share else [track]


def _told(each: PoolLine) -> str:
    limit = "no limit" if each.limit is None else f"{each.limit} slots"
    taken = f"{each.name}: {each.active} of {limit} taken"
    return f"{taken}, {each.failed} of {each.finished} runs failed, {each.late} late"

"""The ledger of a cleanup: what became of which rows of its plan, so short that it can be written every few seconds.

Outcomes are kept as ranges of rows. Whoever dies in the middle leaves a ledger that says what was done, what was just
being done, and what was not begun.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pydantic import BaseModel, ConfigDict, Field

from flows.policy.plan import Outcome, Result

BEGUN = "begun"
DIED = "left: the run that was to do it died"


class Range(BaseModel):
    """Actions `first` to `last` of the plan, counted from 1, that had the same outcome."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a ledger says of one action. `is_begun`: it may have been done or not, only looking at it tells."""

    outcome: str
    detail: str
    is_begun: bool = False


def ranges(outcomes: Sequence[Outcome], begun: int = 0) -> list[Range]:
    """The ledger after these outcomes, with so many further actions just begun."""
    found = []
    first = 1
    for (result, detail), same in groupby(outcomes, key=lambda each: (each.result, each.detail)):
        last = first + sum(1 for _ in same) - 1
        found.append(Range(first=first, last=last, outcome=result.value, detail=detail))
        first = last + 1
    if begun:
        found.append(Range(first=first, last=first + begun - 1, outcome=BEGUN))
    return found


def entries(kept: Sequence[Range], actions: int) -> Iterator[Entry]:
    """What the ledger says of each of so many actions, in their order."""
    reached = 0
    for each in kept:
        for _ in range(each.first, min(each.last, actions) + 1):
            yield Entry(each.outcome, each.detail, each.outcome == BEGUN)
        reached = min(each.last, actions)
    for _ in range(reached, actions):
        yield Entry(Result.SKIPPED.value, DIED)


def settled(entry: Entry, *, is_there: bool) -> Entry:
    """What became of an action that was begun when its run died, told from whether its target is still as it was."""
    if not entry.is_begun:
        return entry
    if is_there:
        return Entry(Result.SKIPPED.value, DIED)
    return Entry(Result.DONE.value, "done by a run that died")


def completed(rows: Sequence[Mapping[str, object]], outcomes: Sequence[Entry]) -> list[dict[str, object]]:
    """The rows of a plan's table with the outcomes of its actions, which are the rows that have one already."""
    left = iter(outcomes)
    return [_with(row, next(left)) if row["outcome"] else dict(row) for row in rows]


def _with(row: Mapping[str, object], entry: Entry) -> dict[str, object]:
    detail = f" ({entry.detail})" if entry.detail else ""
    return {**row, "outcome": entry.outcome, "reason": f"{row['reason']}{detail}"}

"""What a run leaves for people, and under which key they find it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar, overload

from slugify import slugify

from flows.policy.plan import Number

Row = Mapping[str, Number]
Fact = TypeVar("Fact")

# A verdict is one line, but never cut where a few names fit.
VERDICT = 1000
# Prefect takes any length; where it keeps keys in an index of Postgres, some thousand characters are too many.
LONGEST_SLUG = 200
# What a job's own artifacts add to its name.
TAKEN = re.compile(r"(table|record|calendar|progress|ledger)(-|$)")


@dataclass(frozen=True, slots=True)
class Report:
    """One line that says it all, the page behind it, and the table with every row.

    The line is shown as it is wherever Prefect shows a message, so names in it go through `plain`. `calendar` is a
    further page, for jobs that have one.
    """

    verdict: str
    markdown: str
    rows: Sequence[Row] = ()
    calendar: str = ""


@dataclass(frozen=True, slots=True)
class RowsOf(Sequence[Row], Generic[Fact]):
    """The rows of a long table, each made when it is asked for: all at once they would take more than their facts."""

    facts: Sequence[Fact]
    make: Callable[[Fact], Row]

    def __len__(self) -> int:
        return len(self.facts)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        if isinstance(place, slice):
            return [self.make(each) for each in self.facts[place]]
        return self.make(self.facts[place])


def report_key(job: str, narrowed_to: str | None) -> str:
    """The artifact key of a job's report; a run narrowed to one pool adds the pool's slug."""
    if narrowed_to is None:
        return job
    slug, digest = slugify(narrowed_to), sha256(narrowed_to.encode()).hexdigest()[:8]
    if not 0 < len(slug) <= LONGEST_SLUG:
        slug = f"{slug[:LONGEST_SLUG].rstrip('-')}-{digest}".lstrip("-")
    # A pool named `table` must not take the place of the fleet's table.
    return f"{job}-pool-{slug}" if TAKEN.match(slug) else f"{job}-{slug}"

"""What was tried, how often, and how it ended: the table of faults and jobs."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path(__file__).parent / "TABLE.md"


@dataclass(slots=True)
class Tried:
    """By job and fault: how the runs ended that it hit. What was lost would have failed its test."""

    ends: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def note(self, job: str, fault: str, end: str) -> None:
        self.ends.setdefault((job, fault), Counter())[end] += 1

"""What was tried, how often, and how it ended: the table of faults and jobs."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path(__file__).parent / "TABLE.md"
HEAD = """# Faults and jobs

What was tried, how often, and how the runs ended that it hit: `3+1` are 3 that completed and 1 that failed and said so.
In each case everything stood in the end as if nothing had happened: nothing was lost, nothing was done twice, and no
report told otherwise than it was. Had one not, its test would have failed, and this table would not be here.

- A **lost** answer hits every write that changes something; of the others each hits one write, and each another; some
  hit a read as well.
- **kill -9** ends the flow's process before it makes a write, each of them that changes something in turn.
- **server killed** ends the server at a write in the middle; it comes back. **moving page** lets a work pool go while
  the list of them is read.
- `reset`, `504`, `slow`, `truncated`, `wrong` and `lost` befall the answer, after the change was made.

```sh
.venv/bin/pytest -m faults -n 0 --fault-table
```

"""


@dataclass(slots=True)
class Tried:
    """By job and fault: how the runs ended that it hit."""

    ends: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def note(self, job: str, fault: str, end: str) -> None:
        self.ends.setdefault((job, fault), Counter())[end] += 1

    def write(self) -> None:
        jobs = list(dict.fromkeys(job for job, _ in self.ends))
        faults = list(dict.fromkeys(fault for _, fault in self.ends))
        rows = [[job, *(self._cell(job, fault) for fault in faults), "0"] for job in jobs]
        total = sum(ends.total() for ends in self.ends.values())
        lines = [["", *faults, "lost"], ["---"] * (len(faults) + 2), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        TABLE.write_text(f"{HEAD}{table}\n\n{total} runs that something befell.\n")

    def _cell(self, job: str, fault: str) -> str:
        ends = self.ends.get((job, fault), Counter())
        if not ends:
            return "–"
        return str(ends["KILLED"]) if ends["KILLED"] else f"{ends['COMPLETED']}+{ends['FAILED']}"

"""What was tried, how often, and how it ended: the table of faults and jobs."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path(__file__).parent / "TABLE.md"
HEAD = """# Faults, deaths and jobs

What was tried, how often, and how the runs ended that it hit: `3+1` are 3 that completed and 1 that failed and said so.
In each case everything stood in the end as if nothing had happened: nothing was lost, nothing was done twice, and no
report told otherwise than it was. Had one not, its test would have failed, and this table would not be here.

```sh
.venv/bin/pytest -m faults --fault-table tests/faults/test_faults.py tests/faults/test_death.py
```
"""
# By the module that tries them.
PARTS = {
    "test_faults": """## Faults on the way

A **lost** answer hits every write that changes something; of the others each hits one write, and each another; some
hit a read as well. `reset`, `504`, `slow`, `truncated`, `wrong` and `lost` befall the answer, after the change was
made. **moving page** lets a work pool go while the list of them is read.
""",
    "test_death": """## Deaths

**kill -9** ends the flow's process before it makes a write, each of them that changes something in turn. **server
killed** ends the server at a write in the middle; it comes back.
""",
}


@dataclass(slots=True)
class Tried:
    """By job and fault: how the runs ended that it hit."""

    ends: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def note(self, job: str, fault: str, end: str) -> None:
        self.ends.setdefault((job, fault), Counter())[end] += 1

    def write(self, module: str) -> None:
        """Into the module's part of the table; the other's stays."""
        before = TABLE.read_text() if TABLE.exists() else ""
        parts = [self._part(module) if each == module else _kept(before, head) for each, head in PARTS.items()]
        TABLE.write_text("\n".join([HEAD, *filter(None, parts)]))

    def _part(self, module: str) -> str:
        jobs = list(dict.fromkeys(job for job, _ in self.ends))
        faults = list(dict.fromkeys(fault for _, fault in self.ends))
        rows = [[job, *(self._cell(job, fault) for fault in faults), "nothing"] for job in jobs]
        total = sum(ends.total() for ends in self.ends.values())
        lines = [["", *faults, "what was lost"], ["---"] * (len(faults) + 2), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{PARTS[module]}\n{table}\n\n{total} runs that something befell.\n"

    def _cell(self, job: str, fault: str) -> str:
        ends = self.ends.get((job, fault), Counter())
        if not ends:
            return "–"
        return str(ends["KILLED"]) if ends["KILLED"] else f"{ends['COMPLETED']}+{ends['FAILED']}"


def _kept(text: str, head: str) -> str:
    """The part of the table that begins with this heading; nothing where there is none."""
    title = head.splitlines()[0]
    _, found, rest = text.partition(f"{title}\n")
    return f"{title}\n{rest.partition(chr(10) + '## ')[0].rstrip()}\n" if found else ""

"""The note on a paused pool or deployment: who paused it, why, since when and until when.

It stands in front of the owner's own description, in square brackets, and goes without a trace.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from flows.policy.words import one_line

NOTE = re.compile(
    r"\[Poolkeeper: (?P<words>[^\]]*?)"
    r"(?:Former limit: (?P<limit>none|\d+)\. )?Lease (?P<lease>[0-9a-f]+)\.(?P<step>\d+)\]"
)
# Whatever the keeper has written in front of a description; what only it understands stands at the end.
ANY_NOTE = re.compile(r"\[Poolkeeper: (?P<words>[^\]]*?)(?: (?:Lease|Pause) [0-9a-f.]+)?\]")
# The first time that a note names is the one at which its phase began.
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
BETWEEN = "\n\n"
# The end of a note that stands before another one.
ANOTHER = re.compile(r"\[Poolkeeper: [^\]]*\]\n\n\Z")
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Note:
    """What a note says. `former_limit` is "" where it names none, "none" where there was none."""

    words: str
    lease: str
    step: int
    former_limit: str = ""

    @property
    def tag(self) -> str:
        return f"{self.lease}.{self.step}"

    @property
    def since(self) -> datetime | None:
        """When the phase began that it tells of; None where somebody rewrote it."""
        return first_moment(self.words)


def read_note(description: str | None) -> Note | None:
    found = NOTE.search(description or "")
    return Note(found["words"].strip(), found["lease"], int(found["step"]), found["limit"] or "") if found else None


def read_any_note(description: str | None) -> str:
    """What the keeper's note says, of whatever kind it is; "" where there is none."""
    found = ANY_NOTE.search(description or "")
    return found["words"].strip() if found else ""


def with_note(description: str | None, words: str, tag: str) -> str:
    """The description with this note in front, instead of an earlier one."""
    own = without_note(description)
    note = f"[Poolkeeper: {flat(words)} Lease {tag}]"
    return note if own is None else note + BETWEEN + own


def without_note(description: str | None) -> str | None:
    """The owner's own description, as it was."""
    return without(NOTE, description)


def without(note: re.Pattern[str], description: str | None) -> str | None:
    """The description without what the keeper put in front of it, wherever that stands by now."""
    found = note.search(description or "")
    if description is None or found is None:
        return description
    before, after = description[: found.start()], description[found.end() :]
    if not before and not after:
        return None
    if not after and ANOTHER.search(before):
        # Behind both notes there was nothing.
        return before.removesuffix(BETWEEN)
    return before + after.removeprefix(BETWEEN)


def first_moment(words: str) -> datetime | None:
    """The first time that a note names."""
    found = MOMENT.search(words)
    return datetime.strptime(f"{found[1]} +0000", "%Y-%m-%d %H:%M:%S %z") if found else None


def flat(words: str) -> str:
    """On one line, without the brackets that end a note."""
    return one_line(words.replace("[", "(").replace("]", ")"))

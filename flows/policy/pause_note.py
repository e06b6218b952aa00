"""The notes that a person's hand leaves on a work pool: who paused it, why, since when and until when.

They stand in front of what is there, like the note of auto-pause (`lease`), and in a form of their own, so that neither
is taken for the other. Each goes without a trace.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from flows.policy.lease import BETWEEN, first_moment, flat, read_note, without

PAUSE = re.compile(
    r"\[Poolkeeper: (?P<words>(?P<doing>paused on|draining since|drained on) [^\[\]]*?) Pause (?P<tag>[0-9a-f]+)\]"
)
DELETION = re.compile(
    r"\[Poolkeeper: (?P<words>being deleted since [^\[\]]*?) It was (?P<before>paused|not paused) before\. "
    r"Pause (?P<tag>[0-9a-f]+)\]"
)
OVER = "the pause that its note tells of is over"
RESTORING = "[Poolkeeper: being restored from the archive"


@dataclass(frozen=True, slots=True)
class PauseNote:
    """What a note says. `doing` is what it is paused for; `was_paused` counts for a deletion only."""

    words: str
    doing: str
    tag: str
    was_paused: bool = False

    @property
    def since(self) -> datetime | None:
        """When it was paused; None where somebody rewrote it."""
        return first_moment(self.words)

    @property
    def is_draining(self) -> bool:
        return self.doing == "draining since"


def read_pause(description: str | None) -> PauseNote | None:
    """The note of a pause or of a drain."""
    found = PAUSE.search(description or "")
    return PauseNote(found["words"], found["doing"], found["tag"]) if found else None


def with_pause(description: str | None, words: str, tag: str) -> str:
    """The description with this note in front, instead of an earlier one. The words begin as `PAUSE` wants it."""
    return _in_front(f"[Poolkeeper: {flat(words)} Pause {tag}]", without_pause(description))


def without_pause(description: str | None) -> str | None:
    """The description without the note of a pause or of a drain."""
    return without(PAUSE, description)


def stale_note_gone(description: str | None, *, is_paused: bool) -> str | None:
    """The description without the note of a pause that somebody has ended elsewhere."""
    return description if is_paused else without_pause(description)


def is_by_hand(description: str | None) -> bool:
    """Whether the notes on a paused pool say that a person paused it."""
    return bool(read_pause(description) or read_deletion(description))


def as_drained(description: str | None, tag: str, now: datetime) -> str | None:
    """The description whose note of this drain tells that it is over; as it is where that note is gone."""
    found = PAUSE.search(description or "")
    if description is None or found is None or found["tag"] != tag or found["doing"] != "draining since":
        return description
    drained = f"drained on {now:%Y-%m-%d %H:%M:%S} UTC, {found['words']}"
    return description[: found.start("words")] + drained + description[found.end("words") :]


def read_deletion(description: str | None) -> PauseNote | None:
    """The note that a deletion was begun."""
    found = DELETION.search(description or "")
    if found is None:
        return None
    return PauseNote(found["words"], "being deleted", found["tag"], was_paused=found["before"] == "paused")


def with_deletion(description: str | None, words: str, tag: str, *, was_paused: bool) -> str:
    """The description with the note of a deletion in front, instead of an earlier one."""
    before = "paused" if was_paused else "not paused"
    note = f"[Poolkeeper: {flat(words)} It was {before} before. Pause {tag}]"
    return _in_front(note, without_deletion(description))


def without_deletion(description: str | None) -> str | None:
    """The description as it was before its deletion began."""
    return without(DELETION, description)


def half_done(description: str | None) -> str:
    """What was begun with a pool and has not come to its end, and what to do; "" where nothing was."""
    if note := read_deletion(description):
        return f"it is {note.words} Run delete again to go on, or restore to undo it"
    if RESTORING in (description or ""):
        return "it is being restored from its archive. Run restore again to go on"
    return ""


def why_paused(description: str | None) -> str:
    """What the notes on a paused pool say, whoever paused it; "" where none does."""
    note = read_deletion(description) or read_pause(description) or read_note(description)
    return note.words if note else ""


def _in_front(note: str, description: str | None) -> str:
    return note if description is None else note + BETWEEN + description

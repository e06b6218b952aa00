"""The notes that the keeper puts in front of a work pool's description, beside what its owner wrote."""

import re

from flows.policy.cleanup.idle_pools import OPENING
from flows.policy.lease import BETWEEN, flat, without

NOTE = re.compile(r"\[Poolkeeper: [^\]]*\]")
CREATING = re.compile(r"\[Poolkeeper: being created from [^\]]*\]")


def owners(description: str | None) -> str:
    """What the owner wrote, without any note; the same for none and for nothing written."""
    rest = description
    while rest is not None and NOTE.search(rest):
        rest = without(NOTE, rest)
    return (rest or "").strip()


def with_notes_of(there: str | None, wanted: str | None) -> str | None:
    """The description that is wanted, behind the notes that stand there now."""
    notes = NOTE.findall(there or "")
    return BETWEEN.join([*notes, *([wanted] if wanted else [])]) or None


def being_created(path: str, description: str | None) -> str:
    """The description of a work pool that a spec has created, as long as not everything of that is done."""
    note = f"[Poolkeeper: being created from {flat(path)}]"
    return note + BETWEEN + description if description else note


def is_being_created(description: str | None) -> bool:
    return CREATING.search(description or "") is not None


def without_creating(description: str | None) -> str | None:
    return without(CREATING, description)


def is_held(description: str | None) -> bool:
    """Whether a note tells that the keeper has paused it, lets a few runs try, or is restoring it."""
    return any(not (CREATING.match(note) or note.startswith(OPENING)) for note in NOTE.findall(description or ""))

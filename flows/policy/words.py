"""Small pieces of sentences."""

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """`1 late run`, `2 late runs`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def some_of(names: Sequence[str], shown: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")

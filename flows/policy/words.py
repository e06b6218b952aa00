"""Small pieces of sentences."""

import re
from collections.abc import Sequence
from datetime import timedelta

MINUTE, HOUR, DAY = 60, 3600, 86400
# Control characters, what no text may hold, and marks that turn the direction of the text after them.
INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]+")


def one_line(value: object) -> str:
    """The value on one line, without what cannot be seen."""
    return " ".join(INVISIBLE.sub(" ", str(value)).split())


def counted(number: int, what: str) -> str:
    """`1 late run`, `2 late runs`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def some_of(names: Sequence[str], shown: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def lasting(length: timedelta) -> str:
    """`45 s`, `14 min`, `2 h 5 min`, `3 d 4 h`: as exact as a person would say it."""
    seconds = round(length.total_seconds())
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min" + (
            f" {seconds % MINUTE} s" if seconds < 10 * MINUTE and seconds % MINUTE else ""
        )
    if seconds < DAY:
        return f"{seconds // HOUR} h" + (f" {seconds % HOUR // MINUTE} min" if seconds % HOUR // MINUTE else "")
    return f"{seconds // DAY} d" + (f" {seconds % DAY // HOUR} h" if seconds % DAY // HOUR else "")

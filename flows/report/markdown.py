"""Markdown that shows names as they are, whatever is in them, in both of Prefect's UIs.

Links are relative to the page of an artifact, so that they stay in the UI the reader is in.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote

from flows.policy.words import one_line

PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# One UI shows the text of a link as it is, the other reads it as Markdown: a link's text must be the same either way.
NOT_IN_A_LINK = re.compile(r"[`*~<>&\\|\[\]!]|(?<![^\W_])_|_(?![^\W_])")
LONGEST_TEXT = 300
BAR_CELLS = 10


def plain(value: object, longest: int = LONGEST_TEXT) -> str:
    """The value on one line, without what cannot be seen, cut after `longest` characters."""
    flat = one_line(value)
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """The value as literal text of a paragraph, a list or a table cell. Not for the text of a link."""
    return PUNCTUATION.sub(r"\\\1", plain(value, longest))


def link(label: object, target: str) -> str:
    """A link with this text, or the text and a link beside it where the text cannot be one."""
    flat = plain(label)
    if not flat or NOT_IN_A_LINK.search(flat):
        return f"{text(flat)} [↗]({target})".strip()
    return f"[{flat}]({target})"


def pool_link(name: str) -> str:
    return link(name, f"../../work-pools/work-pool/{quote(name, safe='')}")


def run_link(name: str, run_id: str) -> str:
    return link(name, f"../../runs/flow-run/{run_id}")


def deployment_link(name: str, deployment_id: str) -> str:
    return link(name, f"../../deployments/deployment/{deployment_id}")


def artifact_link(label: str, key: str) -> str:
    return link(label, f"../../artifacts/key/{key}")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [f"| {' | '.join(headers)} |", f"|{'|'.join(['---'] * len(headers))}|"]
    lines.extend(f"| {' | '.join(row)} |" for row in rows)
    return "\n".join(lines)


def bar(used: int, limit: int | None) -> str:
    """Slots in use as a bar and as numbers; without a limit there is nothing to draw it against."""
    if limit is None:
        return f"{used} of no limit"
    filled = BAR_CELLS if limit == 0 else min(BAR_CELLS, -(-used * BAR_CELLS // limit))
    return f"`{'█' * filled}{'░' * (BAR_CELLS - filled)}` {used} of {limit}"


def capped(page: str, total: int, shown: int) -> str:
    """The page, and how many of the list it shows are left out."""
    return page + (f"\n\n… and {total - shown} more." if total > shown else "")


def moment(at: datetime | None) -> str:
    """An instant in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "–"


def sections(*parts: str) -> str:
    """The parts that say something, with a blank line between them."""
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"

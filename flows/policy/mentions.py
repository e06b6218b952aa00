"""Whether an automation names something: by its name or id, anywhere in its trigger or its actions."""

import re
from collections.abc import Callable, Collection, Mapping

# As a word of its own: `!etl` and `prefect.work-pool.<id>` name it, `etl-2` and `etl-*` do not.
BEFORE, AFTER = r"(?<![\w-])", r"(?![\w-])"


def naming(names: Collection[str]) -> Callable[[object], bool]:
    """Whether one of these names or ids stands in what is read from JSON; what keys are called does not count."""
    word = re.compile(f"{BEFORE}(?:{'|'.join(map(re.escape, names))}){AFTER}")

    def within(part: object) -> bool:
        if isinstance(part, str):
            return word.search(part) is not None
        if isinstance(part, Mapping):
            return any(within(value) for value in part.values())
        return isinstance(part, list | tuple) and any(map(within, part))

    return within

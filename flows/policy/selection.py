"""Which pools a run is about: names or shell patterns, less what is excluded."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from flows.policy.bad_input import BadInput

WILDCARDS = frozenset("*?[")


class UnknownPool(BadInput):
    """A plain name that no work pool has."""


# Always every pool, whatever somebody may have called a pool.
EVERY_POOL = "*"


@dataclass(frozen=True, slots=True)
class Entries:
    """What a parameter asks for: plain names and shell patterns."""

    names: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()

    def cover(self, name: str) -> bool:
        return name in self.names or any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected pools' names, in order. `narrowed_to` is the one pool that was asked for by its plain name.

    `emptiness` says in words why nothing is selected; it is empty where something is.
    """

    names: tuple[str, ...]
    asked: Entries = Entries()
    excluded: Entries = Entries()
    narrowed_to: str | None = None
    emptiness: str = ""

    @property
    def includes_no_pool(self) -> bool:
        """Whether what belongs to no work pool is asked for as well: only `*` does that."""
        return EVERY_POOL in self.asked.patterns

    def covers(self, name: str) -> bool:
        """Whether a pool of that name would be selected, also one that no longer exists."""
        return self.asked.cover(name) and not self.excluded.cover(name)


def select_pools(
    pools: Sequence[str], exclude: Sequence[str], names: Collection[str], *, parameter: str = "pools"
) -> Selection:
    """Resolve `pools` less `exclude` against the names of all pools. `UnknownPool` for a plain name nobody has.

    `parameter` is what the form calls `pools`.
    """
    asked, excluded = _read(pools, names, parameter=parameter), _read(exclude, names, parameter="exclude")
    matching = [name for name in names if asked.cover(name)]
    chosen = tuple(sorted(name for name in matching if not excluded.cover(name)))
    return Selection(
        names=chosen,
        asked=asked,
        excluded=excluded,
        narrowed_to=pools[0] if len(pools) == 1 and asked.names and chosen else None,
        emptiness="" if chosen else _emptiness(pools, exclude, names, matching),
    )


def select_remaining(pools: Sequence[str], exclude: Sequence[str], names: Collection[str]) -> Selection:
    """As `select_pools`, for what no person has typed: a pool that is gone meanwhile selects nothing."""

    def remaining(entries: Sequence[str]) -> list[str]:
        return [entry for entry in entries if entry in names or not WILDCARDS.isdisjoint(entry)]

    left = remaining(pools)
    if left or not pools:
        return select_pools(left, remaining(exclude), names)
    shown = ", ".join(repr(entry) for entry in pools)
    return Selection(
        names=(),
        narrowed_to=pools[0] if len(pools) == 1 else None,
        emptiness=f"Gone meanwhile: {shown}. Nothing to do.",
    )


def _read(entries: Iterable[str], names: Collection[str], *, parameter: str) -> Entries:
    """A pool that is really called `a*` is meant by its name."""
    plain: set[str] = set()
    patterns: list[str] = []
    for entry in entries:
        if entry in names and entry != EVERY_POOL:
            plain.add(entry)
        elif WILDCARDS.isdisjoint(entry):
            raise UnknownPool(_unknown(entry, names, parameter))
        else:
            patterns.append(entry)
    return Entries(frozenset(plain), tuple(patterns))


def _unknown(entry: str, names: Collection[str], parameter: str) -> str:
    nearest = get_close_matches(entry, names, n=1, cutoff=0)
    there = f"{len(names)} work pools, none of that name" if names else "no work pools at all"
    hint = f" The nearest name is {nearest[0]!r}." if nearest else ""
    return (
        f"No work pool is named {entry!r} (parameter {parameter!r}): there are {there}.{hint} "
        "Nothing was done. Correct the name, or use a pattern such as 'etl-*'."
    )


def _emptiness(pools: Sequence[str], exclude: Sequence[str], names: Collection[str], matching: Collection[str]) -> str:
    if not pools:
        return "Parameter 'pools' is an empty list, which selects nothing; use [\"*\"] for every work pool."
    if not names:
        return "There is no work pool on this server."
    shown = ", ".join(repr(entry) for entry in pools)
    if not matching:
        return f"No work pool matches {shown}; there are {len(names)} work pools."
    return f"Everything that matches {shown} is excluded by {', '.join(repr(entry) for entry in exclude)}."

"""Lists read whole: nothing stops at 200, and nothing is lost between two pages."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from flows.prefect_api.client import Api, ApiProblem

PAGE = 200
# Shorter than a page, so that pages overlap. Different steps break a list at different places, so that rows lost at
# one boundary are seen with another.
PAGE_STEPS = (PAGE - 1, 167, 131, 101, 67)
# Of a list longer than that, these passes together miss rows wherever a database breaks most of its ties anew.
LONG = 1_000

Row = dict[str, Any]
Made = TypeVar("Made")


class NotWhole(ApiProblem):
    """A list that cannot be read whole as it is ordered."""


async def read_all(api: Api, path: str, body: dict[str, Any]) -> list[Row]:
    """All rows of a list whose order is total and does not change (by name, by id)."""
    return await read_all_as(list, api, path, body)


async def read_all_as(
    make: Callable[[list[Row]], Sequence[Made]], api: Api, path: str, body: dict[str, Any]
) -> list[Made]:
    """The same, each page made into something smaller at once: a row takes some ten kilobytes of memory.

    Rows may come and go while the pages are read. Each page therefore begins with the last row of the one before;
    where it does not, rows before it have gone, and the reading steps back until the pages meet again.
    """
    made: dict[str, Made] = {}
    offset = 0
    while True:
        page = await _page(api, path, body, offset)
        if offset and (not page or page[0]["id"] not in made):
            offset = max(0, offset - PAGE // 2)
            continue
        made.update(zip((row["id"] for row in page), make(page), strict=True))
        if len(page) < PAGE:
            return list(made.values())
        offset += PAGE - 1


async def read_all_unordered(
    api: Api, path: str, body: dict[str, Any], *, what: str, fields: Collection[str] = ()
) -> list[Row]:
    """All rows of a list whose order is not total, so that a database may break ties differently for each page.

    With `fields` no more than these are kept of each row.

    A pass is whole when its pages meet and it saw as many different rows as it has places. Where ties moved between
    the pages, it is repeated with other page lengths; together the passes have everything once they hold as many rows
    as the list has had places twice in a row.
    """
    rows: dict[str, Row] = {}
    places = -1
    for step in PAGE_STEPS:
        before = places
        seen, places, meets = await _pass(api, path, body, step, fields)
        if meets and len(seen) == places:
            return list(seen.values())
        rows |= seen
        if len(rows) == places == before:
            return list(rows.values())
        if places > LONG and places == before:
            break
    raise NotWhole(
        f"The list of {what} could not be read whole: {len(rows)} of its {places} rows were seen. "
        "It changes while it is read, or the database orders it anew each time. Run again."
    )


async def _pass(
    api: Api, path: str, body: dict[str, Any], step: int, fields: Collection[str] = ()
) -> tuple[dict[str, Row], int, bool]:
    """The rows of one pass, how many places the list has, and whether each page began with a row already seen."""
    rows: dict[str, Row] = {}
    offset, meets = 0, True
    while True:
        page = await _page(api, path, body, offset)
        meets = meets and (offset == 0 or bool(page and page[0]["id"] in rows))
        rows.update((row["id"], {name: row[name] for name in fields if name in row} if fields else row) for row in page)
        if len(page) < PAGE:
            return rows, offset + len(page), meets
        offset += step


async def read_moving(api: Api, path: str, body: dict[str, Any]) -> list[Row]:
    """All rows of a list whose rows move to its top while it is read (workers, by their last heartbeat).

    A row that moves up past the page being read is found by reading the list again, until nothing new turns up.
    """
    rows: dict[str, Row] = {}
    while True:
        known = len(rows)
        seen, places, _ = await _pass(api, path, body, PAGE)
        rows |= seen
        if places < PAGE or len(rows) == known:
            return list(rows.values())


async def read_grouped(
    api: Api, path: str, body: dict[str, Any], group: Callable[[Row], str | None]
) -> dict[str, list[Row]]:
    """All rows of an ordered list by `group`; rows of no group are left out."""
    found: dict[str, list[Row]] = {}
    for row in await read_all(api, path, body):
        if (name := group(row)) is not None:
            found.setdefault(name, []).append(row)
    return found


async def _page(api: Api, path: str, body: dict[str, Any], offset: int) -> list[Row]:
    page: list[Row] = await api.read(path, {**body, "limit": PAGE, "offset": offset})
    return page

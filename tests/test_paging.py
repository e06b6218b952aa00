"""Lists read while they change: what a real server does not produce on demand comes from a small list of our own."""

import random
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.prefect_api.client import Api, ApiProblem
from flows.prefect_api.paging import PAGE, NotWhole, read_all, read_all_unordered, read_moving

pytestmark = pytest.mark.anyio

Rows = list[dict[str, Any]]


class ListServer:
    """A list in pages. `between` may change the rows after each page; `order` is asked anew for each page."""

    def __init__(self, rows: Rows, between: Callable[[Rows], None] = lambda _: None, *, shuffle_ties: bool = False):
        self.rows = rows
        self.pages = 0
        self._between = between
        self._shuffle_ties = shuffle_ties

    async def read(self, path: str, body: dict[str, Any]) -> Rows:  # noqa: ARG002
        assert body["limit"] <= PAGE
        self.pages += 1
        rows = sorted(self.rows, key=lambda row: (row["name"], random.random() if self._shuffle_ties else 0))
        page = rows[body["offset"] : body["offset"] + body["limit"]]
        self._between(self.rows)
        return page

    def as_api(self) -> Api:
        return cast(Api, self)


def numbered(count: int) -> Rows:
    return [{"id": f"{number:05}", "name": f"{number:05}"} for number in range(count)]


def ids(rows: Rows) -> set[str]:
    return {row["id"] for row in rows}


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 398, 399, 400, 1000])
async def test_reads_a_list_of_any_length_whole_and_nothing_twice(count: int) -> None:
    rows = await read_all(ListServer(numbered(count)).as_api(), "/", {})
    assert [row["id"] for row in rows] == [row["id"] for row in numbered(count)]


@given(count=st.integers(0, 1200), seed=st.integers(), gone=st.integers(0, 60), come=st.integers(0, 60))
async def test_misses_no_row_that_was_there_all_the_time(count: int, seed: int, gone: int, come: int) -> None:
    chance = random.Random(seed)
    stable = ids(numbered(count)[::2])

    def change(rows: Rows) -> None:
        for _ in range(chance.randint(0, gone)):
            leaving = [row for row in rows if row["id"] not in stable]
            if leaving:
                rows.remove(chance.choice(leaving))
        for _ in range(chance.randint(0, come) if len(rows) < 1500 else 0):
            name = f"{chance.randint(0, count):05}-{chance.random()}"
            rows.append({"id": name, "name": name})

    rows = await read_all(ListServer(numbered(count), change).as_api(), "/", {})
    assert stable <= ids(rows)


async def test_reads_rows_of_equal_name_whole_although_each_page_orders_them_anew() -> None:
    rows = [{"id": str(number), "name": number % 3} for number in range(600)]
    read = await read_all_unordered(ListServer(rows, shuffle_ties=True).as_api(), "/", {}, what="queues")
    assert ids(read) == ids(rows)


async def test_misses_no_row_when_another_goes_between_two_pages() -> None:
    gone = []

    def remove(rows: Rows) -> None:
        if not gone:
            gone.append(rows.pop(5))

    read = await read_all_unordered(ListServer(numbered(400), remove).as_api(), "/", {}, what="queues")
    assert ids(read) == ids(numbered(400)) - ids(gone)


async def test_reads_an_ordered_list_in_no_more_pages_than_it_has() -> None:
    server = ListServer(numbered(600))
    await read_all_unordered(server.as_api(), "/", {}, what="queues")
    assert server.pages == 4


async def test_says_so_where_a_list_cannot_be_read_whole() -> None:
    class Forgetful(ListServer):
        async def read(self, path: str, body: dict[str, Any]) -> Rows:
            page = await super().read(path, body)
            return page[:1] * len(page)

    with pytest.raises(ApiProblem, match="could not be read whole"):
        await read_all_unordered(Forgetful(numbered(600)).as_api(), "/", {}, what="queues")


async def test_gives_a_long_list_up_soon_where_most_of_its_order_is_made_anew_for_each_page() -> None:
    server = ListServer([{"id": str(number), "name": number % 3} for number in range(3000)], shuffle_ties=True)
    with pytest.raises(NotWhole):
        await read_all_unordered(server.as_api(), "/", {}, what="queues")
    # Twice, not once for each length of a page.
    assert server.pages < 2 * 3000 / 150


async def test_finds_a_worker_that_moves_up_while_the_list_is_read() -> None:
    moved = []

    def beat(rows: Rows) -> None:
        if not moved:
            moved.append(rows[-1])
            rows[-1]["name"] = "-"

    rows = numbered(450)
    read = await read_moving(ListServer(rows, beat).as_api(), "/", {})
    assert ids(read) == ids(rows)

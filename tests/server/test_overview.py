"""The keeper's own page on a real server, as runs bring it up to date."""

from typing import Any

import pytest

from tests.rest import Rest, unique, wait_for
from tests.server.breaker import Breaker

pytestmark = pytest.mark.anyio


async def test_an_inventory_brings_the_page_up_to_date(inventory: Any, rest: Rest) -> None:
    name = unique("fleet")
    rest.pool(name, is_paused=True, description="theirs")
    try:
        await inventory(return_state=True)
        page = rest.page("poolkeeper")
        assert f"[{name}](../../work-pools/work-pool/{name})" in page
        assert "by a person; no note says why" in page.replace("\\", "")
        assert "Poolkeeper at a glance" in rest.page("pool-inventory")
    finally:
        rest.delete_pool(name)


async def test_a_pause_stands_on_the_page_at_once_and_only_once_when_its_event_has_come(
    breaker: Breaker, inventory: Any
) -> None:
    pool = breaker.pool()
    pool.fail(10)
    await pool.look(threshold={})
    assert pool.is_paused

    def told() -> list[str]:
        lines = breaker.rest.page("poolkeeper").splitlines()
        return [line for line in lines if line.startswith("|") and f"paused [{pool.name}]" in line]

    assert len(told()) == 1
    assert "pool-auto-pause" in told()[0]
    query = {"event": {"name": ["poolkeeper.pool.paused"]}, "resource": {"id": [f"prefect.work-pool.{pool.id}"]}}
    wait_for(lambda: breaker.rest.ask("/events/filter", filter=query)["total"], what="the event")
    await inventory(return_state=True)
    assert len(told()) == 1


async def test_a_sweep_that_does_nothing_leaves_the_page_alone(breaker: Breaker) -> None:
    pool = breaker.pool()
    pool.succeed(3)

    def pages() -> int:
        return len(breaker.rest.everything("/artifacts/filter", artifacts={"key": {"any_": ["poolkeeper"]}}))

    before = pages()
    await pool.look(threshold={})
    assert pages() == before

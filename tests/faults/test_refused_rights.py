"""Credentials that may not do something: the refusal names the thing and the right, and nothing is left half done."""

from typing import Any

import pytest

from tests.faults.choice import at_path, at_read, at_write
from tests.faults.jobs import JOBS, World, told
from tests.faults.proxy import DENIED, Proxy
from tests.faults.table import Tried

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.usefixtures("dead_at_once")]

WORDS = {"GET": "read", "POST": "create", "PATCH": "change", "DELETE": "delete"}


@pytest.mark.parametrize("job", JOBS)
async def test_a_right_that_is_missing_is_named_with_what_it_is_for(
    world: World, proxy: Proxy, tried: Tried, job: str
) -> None:
    (usual,) = await JOBS[job](world, 1)
    proxy.clear()
    assert (await usual.run()).is_completed()
    right = usual.stands()
    # One write of each kind: what is refused once is refused always.
    kinds = {(each.method, kind(each.path)): each.number for each in reversed(proxy.writes)}
    cases = await JOBS[job](world, len(kinds))
    for ((method, what), number), case in zip(kinds.items(), cases, strict=True):
        proxy.clear()
        proxy.choose = at_write(number, DENIED)
        state = await case.run()
        path = next(each.path for each in proxy.writes if each.number == number)
        proxy.clear()
        rows = told(world.rest, str(state.state_details.flow_run_id)) or []
        said = " ".join([state.message, *(str(row.get("reason")) for row in rows), *logged(world, state)])
        assert f"does not permit to {WORDS[method]} {path} (403)" in said.replace("%20", " "), (job, method, what, said)
        assert "encountered an exception" not in state.message
        again = await case.run()
        assert case.stands() == right, (job, method, what, again.message)
        tried.note(job, "403", state.type.value)


def kind(path: str) -> str:
    return path.split("/")[1]


def logged(world: World, state: Any) -> list[str]:
    run = str(state.state_details.flow_run_id)
    return [row["message"] for row in world.rest.ask("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)]


@pytest.mark.parametrize("job", ["inventory", "auto-pause: pause"])
async def test_what_may_not_be_read_is_named_as_well(world: World, proxy: Proxy, job: str) -> None:
    (case,) = await JOBS[job](world, 1)
    proxy.clear()
    proxy.choose = at_path("POST", "/work_pools/filter", DENIED)
    state = await case.run()
    assert state.is_failed()
    assert "does not permit to read /work_pools/filter (403). Use credentials with that right." in state.message
    proxy.choose = at_read(0, DENIED)
    state = await case.run()
    assert state.is_failed()
    assert "does not permit to read" in state.message

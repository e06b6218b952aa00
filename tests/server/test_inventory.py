"""pool-inventory on a real server."""

from datetime import timedelta
from typing import Any

import pytest

from flows.prefect_api import connect, deployments, paging, work_pools
from tests.rest import Rest, unique, wait_for

pytestmark = pytest.mark.anyio

COLUMNS = [
    "pool", "type", "status", "paused", "concurrency_limit", "active", "queues", "workers_online", "workers_offline",
    "deployments", "late", "finished", "failed", "findings",
]  # fmt: skip


async def take(inventory: Any, **parameters: Any) -> Any:
    return await inventory(**parameters, return_state=True)


def row_of(rest: Rest, pool: str, key: str = "pool-inventory-table") -> dict[str, Any]:
    (row,) = [row for row in rest.table(key) if row["pool"] == pool]
    return row


async def test_shows_every_one_of_207_pools(inventory: Any, rest: Rest) -> None:
    prefix = unique("many")
    names = {f"{prefix}-{number:03}" for number in range(207)}
    for name in names:
        rest.pool(name)
    state = await take(inventory, pools=[f"{prefix}-*"])
    assert state.is_completed()
    rows = rest.table("pool-inventory-table")
    assert [row["pool"] for row in rows] == sorted(names)
    assert list(rows[0]) == COLUMNS


async def test_counts_what_each_pool_has(inventory: Any, rest: Rest) -> None:
    name = unique("busy")
    rest.pool(name, concurrency_limit=5)
    rest.worker(name)
    rest.ask(f"/work_pools/{name}/queues", name="second", is_paused=True)
    deployment = rest.deployment(name)
    for states in (["RUNNING"], ["PENDING"], ["LATE"], ["COMPLETED"], ["FAILED"], ["CRASHED"], ["CANCELLED"]):
        rest.run(deployment, *states, due=timedelta(hours=1))
    await take(inventory, pools=[f"{name}*"])
    row = row_of(rest, name)
    assert row | {"findings": ""} == {
        "pool": name, "type": "process", "status": "READY", "paused": False, "concurrency_limit": 5, "active": 2,
        "queues": 2, "workers_online": 1, "workers_offline": 0, "deployments": 1, "late": 1, "finished": 3, "failed": 2,
        "findings": "",
    }  # fmt: skip
    assert row["findings"] == "late-runs, queue-paused"


async def test_is_whole_where_the_lists_of_all_queues_and_deployments_are_not(
    inventory: Any, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Postgres, where thousands of queues have the same name, by which the list is ordered."""
    names = [unique("queues") for _ in range(3)]
    for name in names:
        rest.pool(name)
        rest.ask(f"/work_pools/{name}/queues", name="fast")
        rest.deployment(name)
    read = paging.read_all_unordered

    async def not_whole(api: Any, path: str, body: dict[str, Any], **options: Any) -> Any:
        if path == "/work_queues/filter" or (path == "/deployments/filter" and "flows" not in body):
            raise paging.NotWhole(path)
        return await read(api, path, body, **options)

    monkeypatch.setattr(work_pools, "read_all_unordered", not_whole)
    monkeypatch.setattr(deployments, "read_all_unordered", not_whole)
    await take(inventory)
    rows = {row["pool"]: row for row in rest.table("pool-inventory-table")}
    assert [rows[name]["queues"] for name in names] == [2, 2, 2]
    async with connect() as api:
        found = await deployments.read_rows(api, {})
        assert len(found) == await deployments.count_deployments(api, {})


async def test_is_not_upset_by_odd_pools(inventory: Any, rest: Rest) -> None:
    prefix = unique("odd")
    strange = f"{prefix} a|b `c` 🎈"
    rest.pool(strange, concurrency_limit=0)
    rest.pool(f"{prefix} agent", type="prefect-agent")
    rest.pool(f"{prefix} paused", is_paused=True)
    state = await take(inventory, pools=[f"{prefix}*"])
    assert state.is_completed()
    rows = {row["pool"]: row for row in rest.table("pool-inventory-table")}
    assert rows[strange]["findings"] == "no-online-worker, limit-zero, idle"
    assert rows[f"{prefix} agent"]["status"] is None
    assert rows[f"{prefix} paused"]["findings"].startswith("paused, ")


async def test_inspects_a_pool_asked_for_by_its_name(inventory: Any, rest: Rest) -> None:
    name = unique("Inspect me")
    rest.pool(name, concurrency_limit=1, is_paused=True)
    deployment = rest.deployment(name, concurrency_limit=1)
    holder = rest.run(deployment, "RUNNING")
    late = rest.run(deployment, "LATE", due=timedelta(hours=2))
    state = await take(inventory, pools=[name])
    key = f"pool-inventory-{name.lower().replace(' ', '-')}"
    page = rest.page(key)
    assert state.message.startswith(f"{name}: paused, no-online-worker")
    assert f"../../runs/flow-run/{holder}" in page
    assert f"../../runs/flow-run/{late}" in page
    assert "the work pool is paused" in page.replace("\\", "")
    assert "all 1 slots of the work pool are taken by" in page.replace("\\", "")
    assert row_of(rest, name, f"{key}-table")["late"] == 1


async def test_does_not_mistake_the_unnamed_default_queue_for_a_missing_one(inventory: Any, rest: Rest) -> None:
    name = unique("default-queue")
    rest.pool(name, concurrency_limit=1)
    rest.worker(name)
    rest.run(rest.deployment(name), "LATE", due=timedelta(minutes=5))
    await take(inventory, pools=[name])
    assert "nothing stands in its way" in rest.page(f"pool-inventory-{name}")


async def test_tells_what_changed_since_the_last_inventory(inventory: Any, rest: Rest) -> None:
    prefix = unique("changing")
    for pool in ("kept", "paused", "limited", "deleted", "templated"):
        rest.pool(f"{prefix}-{pool}")
    await take(inventory, pools=[f"{prefix}-*"])
    rest.change_pool(f"{prefix}-paused", is_paused=True)
    rest.change_pool(f"{prefix}-limited", concurrency_limit=7)
    rest.change_pool(
        f"{prefix}-templated",
        base_job_template={
            "job_configuration": {"x": "{{ x }}"},
            "variables": {"properties": {"x": {"type": "string"}}},
        },
    )
    rest.delete_pool(f"{prefix}-deleted")
    rest.pool(f"{prefix}-new")
    await take(inventory, pools=[f"{prefix}-*"])
    page = rest.page("pool-inventory").replace("\\", "")
    changed = page[page.index("## Changed") : page.index("## Work pools")]
    assert f"[{prefix}-paused](../../work-pools/work-pool/{prefix}-paused) | paused |" in changed
    assert f"{prefix}-limited) | concurrency limit: none → 7 |" in changed
    assert f"{prefix}-templated) | base job template: " in changed
    assert f"| {prefix}-deleted | deleted |" in changed
    assert f"{prefix}-new) | created |" in changed
    assert f"{prefix}-kept" not in changed


async def test_keeps_its_record_only_when_something_changed(inventory: Any, rest: Rest) -> None:
    name = unique("recorded")
    rest.pool(f"{name}-1")
    await take(inventory, pools=[f"{name}-*"])
    kept = rest.latest("pool-inventory-record")["id"]
    await take(inventory, pools=[f"{name}-*"])
    assert rest.latest("pool-inventory-record")["id"] == kept


async def test_finds_deployments_that_a_deleted_pool_left_behind(inventory: Any, rest: Rest) -> None:
    name = unique("doomed")
    rest.pool(name)
    schedule = {"schedule": {"interval": 3600}, "active": True}
    orphan = rest.deployment(name, unique("orphan"), schedules=[schedule])
    rest.delete_pool(name)
    await take(inventory)
    page = rest.page("pool-inventory").replace("\\", "")
    assert "orphaned-deployments" in page
    assert f"/{orphan['name']}](../../deployments/deployment/{orphan['id']})" in page
    rest.delete(f"/deployments/{orphan['id']}").raise_for_status()


def looks(rest: Rest) -> dict[str, Any]:
    """Everything of pools, queues and deployments that a look might disturb."""
    pools = rest.everything("/work_pools/filter")
    return {
        "pools": {pool["id"]: {**pool, "active_slots": None} for pool in pools},
        "queues": {queue["id"]: queue for queue in rest.everything("/work_queues/filter")},
        "deployments": {each["id"]: each for each in rest.everything("/deployments/filter")},
    }


async def test_changes_nothing(inventory: Any, rest: Rest) -> None:
    name = unique("watched")
    rest.pool(name, concurrency_limit=1)
    rest.worker(name)
    rest.run(rest.deployment(name), "LATE", due=timedelta(hours=1))
    wait_for(lambda: rest.read(f"/work_pools/{name}")["status"] == "READY", what="the pool to be ready")
    before, workers = looks(rest), rest.ask(f"/work_pools/{name}/workers/filter")
    await take(inventory)
    await take(inventory, pools=[name])
    assert looks(rest) == before
    assert rest.ask(f"/work_pools/{name}/workers/filter") == workers


async def test_never_shows_a_secret(inventory: Any, rest: Rest) -> None:
    # Of letters and digits only, so that no escaping can hide it.
    canary, name = "c4n4ry9f3e", unique("secretive")
    template = {
        "job_configuration": {"env": "{{ env }}", "auth": {"password": canary}},
        "variables": {
            "properties": {
                "password": {"type": "string", "default": canary},
                "harmless": {"type": "string", "default": canary},
                "env": {"type": "object", "default": {"TOKEN": canary, "URL": f"http://u:{canary}@host"}},
            }
        },
    }
    rest.pool(name, base_job_template=template)
    deployment = rest.deployment(name, job_variables={"env": {"TOKEN": canary}}, parameters={"password": canary})
    run = rest.run(deployment, "LATE", due=timedelta(hours=1))
    for selection in ([name], [f"{name}*"]):
        state = await take(inventory, pools=selection)
        assert canary not in repr(state)
    assert "secret-in-template" in row_of(rest, name)["findings"]
    left = [rest.everything("/artifacts/filter"), rest.everything("/logs/filter"), rest.everything("/variables/filter")]
    assert canary not in str(left)
    events = rest.ask("/events/filter", limit=50, filter={"order": "DESC"})["events"]
    assert canary not in str([event for event in events if run not in str(event)])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pools": ["no-such-pool-at-all"]}, "No work pool is named 'no-such-pool-at-all'"),
        ({"exclude": ["no-such-pool-at-all"]}, "(parameter 'exclude')"),
    ],
)
async def test_names_a_pool_that_nobody_has(
    inventory: Any, rest: Rest, parameters: dict[str, list[str]], message: str
) -> None:
    rest.pool(unique("some"))
    state = await take(inventory, **parameters)
    assert state.is_failed()
    assert message in state.message
    assert "The nearest name is" in state.message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"pools": []}, "selects nothing"), ({"pools": ["nothing-like-this-*"]}, "No work pool matches")],
)
async def test_does_nothing_where_nothing_is_selected(
    inventory: Any, rest: Rest, parameters: dict[str, list[str]], message: str
) -> None:
    state = await take(inventory, **parameters)
    assert state.is_completed()
    assert message in state.message
    assert message in rest.page("pool-inventory").replace("\\", "")


@pytest.mark.parametrize("hours", [-1, 0, 745, "many"])
async def test_refuses_a_window_out_of_bounds(inventory: Any, server: str, hours: Any) -> None:  # noqa: ARG001
    state = await take(inventory, window_hours=hours)
    assert state.is_failed()
    assert "window_hours" in state.message


async def test_accepts_a_number_written_as_text(inventory: Any, rest: Rest) -> None:
    state = await take(inventory, window_hours="12")
    assert state.is_completed()
    assert "12 hours before" in rest.page("pool-inventory").replace("\\", "")

"""What is archived in secret blocks, and made again from them, on a real server."""

from datetime import timedelta
from typing import Any

import pytest

from flows.policy.archive import Archive
from flows.policy.bad_input import BadInput
from flows.prefect_api import Api, NotFound, connect
from flows.prefect_api.archive import archive_pool, archive_queue, read_archives
from flows.prefect_api.restore import Restored, restore
from tests.rest import Rest, unique, wait_for
from tests.server.places import NOW, REASON, Killed, Place, dies_before, where

pytestmark = [pytest.mark.anyio, pytest.mark.long]

STRANGE = ("a | b", "'quoted' \"twice\"", "🐝🐝", "ünï cödé", "100 #1?", "x" * 120)


# --- What comes back ----------------------------------------------------------------------------------------------


async def test_a_restored_pool_is_as_it_was(rest: Rest) -> None:
    template = {
        "variables": {"type": "object", "properties": {"image": {"type": "string", "default": "é🐝"}}},
        "job_configuration": {"image": "{{ image }}", "env": {"NOTHING": None, "DEPTH": [1, 2.5, {"a": []}]}},
    }
    place = Place(rest, type="docker", description="mine\n| 🐝", concurrency_limit=7, base_job_template=template)
    place.queue("fast", priority=1, concurrency_limit=0, description="first")
    place.queue("slow", priority=9, is_paused=True)
    place.change_queue("default", concurrency_limit=3, is_paused=True, description="usual", priority=5)
    before = place.now()
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert place.now() == before
    assert before["queues"]["slow"]["priority"] == 9


@pytest.mark.parametrize("fields", [{"is_paused": True}, {"concurrency_limit": 0}, {"type": "prefect-agent"}, {}])
async def test_a_plain_pool_comes_back_too(rest: Rest, fields: dict[str, Any]) -> None:
    place = Place(rest, **fields)
    before = place.now()
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert place.now() == before


async def test_where_results_and_code_are_stored_comes_back(rest: Rest) -> None:
    storage = {"bundle_upload_step": {"prefect_aws.upload": {"bucket": "b"}}, "bundle_execution_step": {"run": {}}}
    place = Place(rest, storage_configuration=storage)
    before = place.now()
    assert before["pool"]["storage_configuration"]["bundle_upload_step"] == storage["bundle_upload_step"]
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert place.now() == before


@pytest.mark.parametrize("name", STRANGE)
async def test_names_are_no_obstacle(rest: Rest, name: str) -> None:
    place = Place(rest, name)
    place.queue(f"queue {name}", priority=3)
    deployment = place.deployment(f"queue {name}")
    before = place.now()
    async with connect() as api:
        kept = await place.archive(api)
        place.delete()
        await restore(api, (await read_archives(api))[kept])
    assert place.now() == before
    assert where(rest, deployment) == (place.name, f"queue {name}")
    assert set(kept) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("order", [("a", "b", "default"), ("b", "default", "a"), ("default", "b", "a")])
@pytest.mark.parametrize("priorities", [(1, 2, 3), (2, 3, 4), (1, 5, 20), (3, 4, 9)])
async def test_queues_come_back_in_their_order(rest: Rest, order: tuple[str, ...], priorities: tuple[int, ...]) -> None:
    place = Place(rest)
    for name in ("a", "b"):
        place.queue(name)
    # Far away first, so that none pushes another one on.
    for priority, name in enumerate(order, start=100):
        place.change_queue(name, priority=priority)
    for name, priority in zip(order, priorities, strict=True):
        place.change_queue(name, priority=priority)
    before = place.now()
    assert {name: queue["priority"] for name, queue in before["queues"].items()} == dict(
        zip(order, priorities, strict=True)
    )
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert place.now() == before


async def test_a_default_queue_that_was_renamed_keeps_its_name(rest: Rest) -> None:
    place = Place(rest)
    place.change_queue("default", name="main", priority=4)
    place.queue("other", priority=2)
    before = place.now()
    assert before["default"] == "main"
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert place.now() == before


async def test_another_queue_may_be_named_default(rest: Rest) -> None:
    place = Place(rest)
    place.change_queue("default", name="main", priority=4)
    place.queue("default", priority=2)
    before = place.now()
    assert before["default"] == "main"
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert place.now() == before


async def test_more_queues_than_fit_on_a_page_are_archived(rest: Rest) -> None:
    place = Place(rest)
    for number in range(205):
        place.queue(f"queue-{number:03}")
    async with connect() as api:
        kept = await place.archive(api)
        archive = (await read_archives(api))[kept]
    assert len({queue.name for queue in archive.queues}) == 206


async def test_deployments_go_back_to_their_queues(rest: Rest) -> None:
    place = Place(rest)
    place.queue("fast")
    hourly = [{"schedule": {"interval": 3600, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}]
    fields = {"tags": ["a"], "parameters": {"n": 1}, "job_variables": {"env": {"A": "1"}}, "schedules": hourly}
    made = {queue: place.deployment(queue, **fields) for queue in ("fast", "default")}
    moving = {"updated", "work_queue_id", "last_polled", "status"}
    before = {
        queue: {key: value for key, value in rest.read(f"/deployments/{each['id']}").items() if key not in moving}
        for queue, each in made.items()
    }
    async with connect() as api:
        archive = await place.lose(api)
        assert [where(rest, each)[0] for each in made.values()] == [None, None]
        restored = await restore(api, archive)
    assert restored == Restored(tuple(place.full_names(made.values())))
    for queue, each in made.items():
        now = rest.read(f"/deployments/{each['id']}")
        assert {key: value for key, value in now.items() if key not in moving} == before[queue]
        assert now["work_queue_name"] == queue


async def test_the_schedules_of_a_deployment_that_is_back_make_runs_for_the_pool(rest: Rest) -> None:
    place = Place(rest)
    hourly = [{"schedule": {"interval": 3600, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}]
    # Paused until its pool is back: the scheduler would else make runs while it has none, and those would do for it.
    deployment = place.deployment(schedules=hourly, paused=True)
    async with connect() as api:
        await restore(api, await place.lose(api))
    rest.patch(f"/deployments/{deployment['id']}", json={"paused": False}).raise_for_status()
    body = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "work_pools": {"name": {"any_": [place.name]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    wait_for(lambda: rest.ask("/flow_runs/filter", **body), seconds=180, what="runs of the restored pool")


async def test_a_deployment_that_is_gone_or_has_another_pool_by_now_is_left_alone(rest: Rest) -> None:
    place, other = Place(rest), Place(rest)
    gone, moved, kept = (place.deployment() for _ in range(3))
    async with connect() as api:
        archive = await place.lose(api)
        rest.delete(f"/deployments/{gone['id']}").raise_for_status()
        rest.patch(f"/deployments/{moved['id']}", json={"work_pool_name": other.name}).raise_for_status()
        moved_to = f"it is in {other.name!r} now"
        assert await restore(api, archive) == Restored(
            tuple(place.full_names([kept])), ((place.full_names([moved])[0], moved_to),)
        )
    assert where(rest, moved) == (other.name, "default")
    assert where(rest, kept) == (place.name, "default")


async def test_a_deployment_goes_back_though_the_template_asks_for_a_variable_that_only_it_has(rest: Rest) -> None:
    image = {"type": "object", "properties": {"image": {"type": "string"}}, "required": ["image"]}
    template = {"variables": image, "job_configuration": {"image": "{{ image }}"}}
    place = Place(rest, base_job_template=template)
    deployment = place.deployment(job_variables={"image": "mine"})
    async with connect() as api:
        await restore(api, await place.lose(api))
    assert where(rest, deployment) == (place.name, "default")
    assert rest.read(f"/deployments/{deployment['id']}")["job_variables"] == {"image": "mine"}


# --- Queues -------------------------------------------------------------------------------------------------------


async def lose_queue(api: Api, place: Place, name: str) -> Archive:
    kept = await archive_queue(api, place.name, name, reason=REASON, now=NOW)
    place.delete_queue(name)
    return (await read_archives(api))[kept]


@pytest.mark.parametrize("name", STRANGE)
async def test_a_restored_queue_is_as_it_was(rest: Rest, name: str) -> None:
    place = Place(rest, "pool 🐝 '1'")
    place.queue("before", priority=1)
    place.queue(name, priority=2, concurrency_limit=0, description="mine 🐝", is_paused=True)
    deployment = place.deployment(name)
    before = place.now()
    async with connect() as api:
        archive = await lose_queue(api, place, name)
        assert where(rest, deployment)[0] is None
        await restore(api, archive)
    assert place.now() == before
    assert where(rest, deployment) == (place.name, name)


async def test_a_queue_whose_pool_is_gone_is_refused(rest: Rest) -> None:
    place = Place(rest)
    place.queue("unused")
    async with connect() as api:
        archive = await lose_queue(api, place, "unused")
        place.delete()
        with pytest.raises(BadInput, match=f"its work pool {place.name!r} is gone. Nothing was changed. Restore that"):
            await restore(api, archive)
    assert not place.exists()


async def test_a_queue_whose_name_is_taken_is_refused(rest: Rest) -> None:
    place = Place(rest)
    place.queue("unused", priority=3)
    deployment = place.deployment("unused")
    async with connect() as api:
        archive = await lose_queue(api, place, "unused")
        place.queue("unused", priority=7)
        before = place.now()
        with pytest.raises(BadInput, match=r"there is a work queue of that name again\. Nothing was changed"):
            await restore(api, archive)
    assert place.now() == before
    assert where(rest, deployment)[0] is None


async def test_what_is_not_there_is_not_archived(rest: Rest) -> None:
    place = Place(rest)
    async with connect() as api:
        before = await read_archives(api)
        with pytest.raises(NotFound):
            await archive_pool(api, unique("nowhere"), reason=REASON, now=NOW)
        with pytest.raises(NotFound):
            await archive_queue(api, place.name, "nowhere", reason=REASON, now=NOW)
        assert await read_archives(api) == before


# --- Refused before anything is changed, killed in the middle, run twice ------------------------------------------


async def test_a_pool_whose_name_is_taken_is_refused(rest: Rest) -> None:
    place = Place(rest, description="old")
    place.queue("other")
    deployment = place.deployment()
    async with connect() as api:
        archive = await place.lose(api)
        rest.pool(place.name, description="new")
        before = place.now()
        with pytest.raises(BadInput) as refusal:
            await restore(api, archive)
    assert place.now() == before
    assert where(rest, deployment)[0] is None
    assert f"there is a work pool named {place.name!r} again. Nothing was changed. Delete" in str(refusal.value)
    assert "2026-03-01 12:00 UTC" in str(refusal.value)


async def test_restored_twice_is_refused_and_changes_nothing(rest: Rest) -> None:
    place = Place(rest)
    place.queue("other")
    deployment = place.deployment("other")
    async with connect() as api:
        archive = await place.lose(api)
        await restore(api, archive)
        before = place.now()
        with pytest.raises(BadInput):
            await restore(api, archive)
    assert place.now() == before
    assert where(rest, deployment) == (place.name, "other")


@pytest.mark.long
@pytest.mark.parametrize("writes", range(7))
async def test_a_restore_that_was_killed_leaves_a_paused_pool_and_goes_on_the_next_time(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    place = Place(rest)
    place.queue("first", priority=1)
    place.queue("last", priority=9)
    deployments = {queue: place.deployment(queue) for queue in ("first", "last")}
    before = place.now()
    async with connect() as api:
        archive = await place.lose(api)
        with monkeypatch.context() as patch:
            dies_before(patch, api, writes)
            with pytest.raises(Killed):
                await restore(api, archive)
        if place.exists():
            assert rest.read(place.path)["is_paused"]
            assert rest.read(place.path)["description"].startswith("[Poolkeeper: being restored")
        await restore(api, archive)
    assert place.now() == before
    assert {queue: where(rest, each) for queue, each in deployments.items()} == {
        queue: (place.name, queue) for queue in deployments
    }


async def test_the_restore_of_a_queue_that_was_killed_can_be_run_again(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(rest)
    place.queue("unused", priority=2)
    deployment = place.deployment("unused")
    before = place.now()
    async with connect() as api:
        archive = await lose_queue(api, place, "unused")
        with monkeypatch.context() as patch:
            dies_before(patch, api, 1)
            with pytest.raises(Killed):
                await restore(api, archive)
        await restore(api, archive)
    assert place.now() == before
    assert where(rest, deployment) == (place.name, "unused")


async def test_one_deployment_that_cannot_go_back_does_not_keep_the_others_nor_leave_the_pool_paused(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(rest)
    deployments = [place.deployment() for _ in range(3)]
    async with connect() as api:
        archive = await place.lose(api)
        write = api.write

        async def deleting(method: Any, path: str, body: Any = None) -> Any:
            """Somebody deletes a deployment just before it is its turn."""
            if path == f"/deployments/{deployments[1]['id']}":
                rest.delete(path).raise_for_status()
            return await write(method, path, body)

        monkeypatch.setattr(api, "write", deleting)
        restored = await restore(api, archive)
    assert restored == Restored(tuple(place.full_names([deployments[0], deployments[2]])))
    assert not rest.read(place.path)["is_paused"]


async def test_a_restored_pool_starts_nothing_before_it_is_whole(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(rest)
    place.queue("other")
    place.deployment("other")
    async with connect() as api:
        archive = await place.lose(api)
        write, paused = api.write, []

        async def watched(*arguments: Any) -> Any:
            answer = await write(*arguments)
            paused.append(rest.read(place.path)["is_paused"])
            return answer

        monkeypatch.setattr(api, "write", watched)
        await restore(api, archive)
    assert paused == [True] * (len(paused) - 1) + [False]


async def test_archived_twice_leaves_one_block_that_holds_what_is_newer(rest: Rest) -> None:
    place = Place(rest, description="old")
    async with connect() as api:
        first = await place.archive(api)
        rest.change_pool(place.name, description="new")
        second = await archive_pool(api, place.name, reason="again", now=NOW + timedelta(hours=1))
        archives = await read_archives(api)
    assert first == second
    mine = [each for each in archives.values() if each.pool == place.name]
    assert [(each.reason, each.archived_at, each.pool_fields and each.pool_fields.description) for each in mine] == [
        ("again", NOW + timedelta(hours=1), "new")
    ]


async def test_a_pool_that_was_restored_and_deleted_again_has_both_archives(rest: Rest) -> None:
    place = Place(rest)
    async with connect() as api:
        archive = await place.lose(api)
        await restore(api, archive)
        rest.change_pool(place.name, description="changed")
        again = await place.lose(api)
        mine = [each for each in (await read_archives(api)).values() if each.pool == place.name]
        assert len(mine) == 2
        await restore(api, again)
    assert rest.read(place.path)["description"] == "changed"

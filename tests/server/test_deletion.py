"""Deleting a work pool by hand and bringing it back, on a real server: refused, answered, killed in the middle."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from flows.policy.lifecycle.request import DeleteOptions, Request
from flows.prefect_api import Api, connect
from flows.prefect_api.archive import read_archives
from tests.rest import Rest, Row, unique, wait_for
from tests.server.hand import WHY, ask, events, fields, note_of, page, rows, steps
from tests.server.places import Killed, Place, dies_before, where

pytestmark = pytest.mark.anyio

HOURLY = [{"schedule": {"interval": 3600, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}]
ARCHIVE = {"archive_deployments": True, "cancel_runs": True}
# More writes than a deletion of the pool below makes.
MOST_WRITES = 7


@pytest.fixture
def place(rest: Rest) -> Iterator[Place]:
    place = Place(rest, "going", description="Nightly loads", concurrency_limit=5)
    place.queue("fast", priority=1, concurrency_limit=2)
    yield place
    if place.exists():
        place.delete()


@pytest.fixture
def other(rest: Rest) -> Iterator[Place]:
    place = Place(rest, "staying")
    yield place
    place.delete()


def automation(rest: Rest, place: Place) -> str:
    """One that resumes the pool when something happens."""
    trigger = {"type": "event", "posture": "Reactive", "expect": ["x.y"], "threshold": 1, "within": 60}
    action = {"type": "resume-work-pool", "source": "selected", "work_pool_id": place.id}
    row = rest.ask("/automations/", name=unique("names it"), trigger=trigger, actions=[action])
    return str(row["id"])


def state_of(rest: Rest, run: str) -> str:
    return str(rest.read(f"/flow_runs/{run}")["state_name"])


def paused(rest: Rest, deployment: Row) -> bool:
    return bool(rest.read(f"/deployments/{deployment['id']}")["paused"])


async def test_what_is_still_needed_is_not_deleted_and_the_list_says_by_what(place: Place, rest: Rest) -> None:
    deployment = place.deployment("fast", schedules=HOURLY)
    rest.worker(place.name)
    run = rest.run(deployment, "RUNNING")
    rest.patch(f"/flow_runs/{run}", json={"name": "running one"}).raise_for_status()
    named = automation(rest, place)
    before = place.now()
    state = await ask("delete", place.name)
    assert state.is_failed()
    for words in ("1 online worker", "1 deployment", "not ended", "1 automation", "Nothing was changed"):
        assert words in state.message
    assert {row["kind"]: row["verb"] for row in rows(place, outcome="")} == dict.fromkeys(
        ("worker", "deployment", "run", "automation"), "leave"
    )
    assert {row["outcome"] for row in rows(place, kind="pool")} == {"refused"}
    assert "1 active schedule" in page(place)
    assert place.now() == before
    every_answer = {"archive_deployments": True, "cancel_runs": True, "ignore_automations": True}
    for missing, words in (
        ("archive_deployments", "1 deployment"),
        ("cancel_runs", "1 run not ended (running one)"),
        ("ignore_automations", "1 automation"),
    ):
        state = await ask("delete", place.name, delete=every_answer | {missing: False})
        assert words in state.message
        assert state.is_failed()
    # An online worker has no answer: it would make the pool again.
    state = await ask("delete", place.name, delete=every_answer)
    assert "Work pool" in state.message
    assert "needed: 1 online worker" in state.message
    assert (place.now(), state_of(rest, run), paused(rest, deployment)) == (before, "Running", False)
    rest.delete(f"/automations/{named}").raise_for_status()


async def test_deployments_go_to_the_other_pool_and_runs_are_cancelled(place: Place, other: Place, rest: Rest) -> None:
    other.queue("fast")
    moving = {queue: place.deployment(queue, schedules=HOURLY) for queue in ("fast", "default")}
    runs = [rest.run(moving["fast"], *states) for states in ((), ("LATE",), ("PENDING",), ("RUNNING",), ("PAUSED",))]
    runs += [rest.run(moving["default"]) for _ in range(51)]
    options = {"move_deployments_to": other.name, "cancel_runs": True}
    state = await ask("delete", place.name, delete=options)
    assert state.type.value == "COMPLETED", state.message
    assert not place.exists()
    assert {queue: where(rest, each) for queue, each in moving.items()} == {
        "fast": (other.name, "fast"), "default": (other.name, "default"),
    }  # fmt: skip
    assert {state_of(rest, run) for run in runs} == {"Cancelled"}
    assert len(rows(place, kind="run", outcome="done")) == 56
    assert "What cannot come back" in page(place)
    wait_for(lambda: events(rest, "poolkeeper.pool.deleted", place.name), what="an event of the deletion")
    state = await ask("delete", place.name)
    assert state.message == f"Work pool {place.name!r} was deleted before (Ann: {WHY}), and is archived. Nothing to do."
    assert state.type.value == "COMPLETED"


async def test_delete_and_restore_give_back_the_same_pool(place: Place, rest: Rest) -> None:
    going = {queue: place.deployment(queue, schedules=HOURLY) for queue in ("fast", "default")}
    own = place.deployment("fast", paused=True)
    await ask("pause", place.name, reason="before")
    before = place.now()
    state = await ask("delete", place.name, delete=ARCHIVE)
    if "runs not ended" in state.message:
        # Prefect's scheduler had made them at that very moment; now the deployments are paused.
        state = await ask("delete", place.name, delete=ARCHIVE)
    assert state.type.value == "COMPLETED", state.message
    assert not place.exists()
    assert [paused(rest, each) for each in (*going.values(), own)] == [True, True, True]
    state = await ask("restore", place.name)
    assert state.type.value == "COMPLETED"
    assert "3 deployments attached" in rows(place)[0]["reason"]
    assert place.now() == before
    assert [paused(rest, each) for each in (*going.values(), own)] == [False, False, True]
    assert {queue: where(rest, each) for queue, each in going.items()} == {
        queue: (place.name, queue) for queue in going
    }
    state = await ask("restore", place.name)
    assert state.is_failed()
    assert f"there is a work pool named {place.name!r} again. Nothing was changed. Delete or empty" in state.message
    assert rows(place)[0]["outcome"] == "refused"
    assert place.now() == before


async def test_a_name_under_which_nothing_is_archived_names_the_nearest(place: Place) -> None:
    await ask("delete", place.name)
    state = await ask("restore", f"{place.name}x")
    assert state.is_failed()
    assert f"The nearest name is {place.name!r}" in state.message


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("{other}x", "The nearest name is"),
        ("{place}", "it is to be deleted itself"),
        ("management", "runs Poolkeeper itself"),
        ("{docker}", "it is of type 'docker', and they come from 'process'"),
    ],
)
async def test_deployments_go_only_to_a_pool_that_can_run_them(
    place: Place, other: Place, rest: Rest, to: str, words: str
) -> None:
    rest.post("/work_pools/", json={"name": "management", "type": "process", "base_job_template": {}})
    docker = Place(rest, "docker", type="docker") if "docker" in to else other
    deployment = place.deployment()
    before = place.now()
    name = to.format(other=other.name, place=place.name, docker=docker.name)
    state = await ask("delete", place.name, delete={"move_deployments_to": name})
    assert state.is_failed()
    assert words in state.message
    assert (place.now(), where(rest, deployment)[0]) == (before, place.name)


async def going(api: Api, place: Place, **options: Any) -> list[Any]:
    return await steps(api, Request("delete", place.name, WHY, "Ann", delete=DeleteOptions(**options)))


@pytest.mark.long
@pytest.mark.parametrize("writes", range(MOST_WRITES))
async def test_a_deletion_that_was_killed_goes_on_the_next_time_and_what_it_archived_comes_back(
    place: Place, rest: Rest, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    deployments = [place.deployment("fast", schedules=HOURLY), place.deployment()]
    run = rest.run(deployments[1])
    before = place.now()
    async with connect() as api:
        with monkeypatch.context() as patch:
            dies_before(patch, api, writes)
            try:
                await going(api, place, **ARCHIVE)
            except Killed:
                pass
            else:
                assert writes == MOST_WRITES - 1
        if writes and place.exists():
            assert fields(place, "is_paused") == (True,)
            assert "being deleted since" in note_of(place)
        # A second time where the scheduler made runs of the hourly deployment in the moment before it was paused.
        ends = [await going(api, place, **ARCHIVE) for _ in range(2) if place.exists()]
        assert not place.exists(), ends
        assert state_of(rest, run) == "Cancelled"
        (archive,) = [each for each in (await read_archives(api)).values() if each.pool == place.name]
        await steps(api, Request("restore", place.name, WHY))
    assert archive.deployments == {each["id"] for each in deployments}
    assert place.now() == before
    assert [where(rest, each)[0] for each in deployments] == [place.name] * 2
    assert [paused(rest, each) for each in deployments] == [False, False]


@pytest.mark.long
@pytest.mark.parametrize("writes", [1, 2, 3, 4])
async def test_a_deletion_that_was_killed_is_undone_by_a_restore(
    place: Place, other: Place, rest: Rest, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    deployments = [place.deployment("fast"), place.deployment()]
    rest.run(deployments[1])
    before = place.now()
    options = {"move_deployments_to": other.name, "cancel_runs": True} if writes % 2 else ARCHIVE
    async with connect() as api:
        with monkeypatch.context() as patch:
            dies_before(patch, api, writes)
            with pytest.raises(Killed):
                await going(api, place, **options)
        # Nobody else does anything to a pool that stands half-deleted.
        (left,) = [await steps(api, Request("resume", place.name, WHY))]
        assert left == []
        await steps(api, Request("restore", place.name, WHY))
        assert not [each for each in (await read_archives(api)).values() if each.pool == place.name]
    assert place.now() == before
    assert [where(rest, each) for each in deployments] == [(place.name, "fast"), (place.name, "default")]
    assert [paused(rest, each) for each in deployments] == [False, False]


async def test_what_comes_to_depend_on_it_meanwhile_keeps_the_pool(
    place: Place, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as api:
        write = api.write

        async def worked(method: Any, path: str, body: Any = None) -> Any:
            """A worker comes online, and something is deployed, just after the pool was paused."""
            answer = await write(method, path, body)
            if path.endswith(place.name):
                rest.worker(place.name)
                place.deployment()
            return answer

        monkeypatch.setattr(api, "write", worked)
        outcomes = await going(api, place)
    assert place.exists()
    assert outcomes[-1].result == "failed"
    words = f"it is still needed: 1 online worker ({place.name}/worker), 1 deployment ("
    assert outcomes[-1].detail.startswith(words)
    assert fields(place, "is_paused") == (True,)


async def test_a_person_who_resumes_a_pool_that_is_being_deleted_keeps_it(
    place: Place, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = place.deployment()
    async with connect() as api:
        write = api.write

        async def resumed(method: Any, path: str, body: Any = None) -> Any:
            answer = await write(method, path, body)
            if path.startswith("/deployments/"):
                rest.change_pool(place.name, is_paused=False)
            return answer

        monkeypatch.setattr(api, "write", resumed)
        outcomes = await going(api, place, archive_deployments=True)
        assert [outcome.result.value for outcome in outcomes] == ["done", "done", "skipped"]
        assert fields(place, "is_paused") == (False,)
        monkeypatch.undo()
        await steps(api, Request("restore", place.name, WHY))
    assert fields(place, "is_paused", "description") == (False, "Nightly loads")
    assert not paused(rest, deployment)


async def test_two_deletions_at_once_delete_it_once(place: Place) -> None:
    place.deployment()
    states = await asyncio.gather(*(ask("delete", place.name, delete=ARCHIVE) for _ in range(2)))
    assert not place.exists()
    assert {state.type.value for state in states} == {"COMPLETED"}, [state.message for state in states]

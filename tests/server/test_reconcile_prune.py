"""What pool-reconcile prunes, and what it never does."""

from collections.abc import Callable
from typing import Any

import pytest

from flows.policy.plan import Result
from flows.prefect_api.archive import read_archives
from flows.prefect_api.client import Api, connect
from flows.prefect_api.restore import restore
from tests.rest import wait_for
from tests.server.places import Killed, dies_before
from tests.server.test_reconcile_faults import is_ours
from tests.server.yard import Yard, spec

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def created(yard: Yard, **fields: Any) -> tuple[str, str]:
    """A pool that stays in the spec and one that has left it."""
    stays, leaves = yard.name("stays"), yard.name("leaves")
    await yard.bring(spec(stays), spec(leaves, **fields))
    yard.write(spec(stays))
    return stays, leaves


async def test_a_pool_that_has_left_the_spec_stays_until_prune_is_asked_for(yard: Yard) -> None:
    stays, leaves = await created(yard)
    brought = await yard.bring()
    assert yard.exists(leaves)
    assert brought.reasons[leaves].endswith("and no longer in it; prune is off")
    state = await yard.run(prune=True, dry_run=True)
    assert "delete 1 work pool" in state.message
    assert yard.exists(leaves)
    state = await yard.run(prune=True)
    assert state.type.value == "COMPLETED"
    assert (yard.exists(stays), yard.exists(leaves)) == (True, False)
    assert yard.verbs()[leaves] == ("delete", "done")
    assert yard.created().keys() == {stays}
    wait_for(lambda: yard.events(leaves, "poolkeeper.pool.deleted"), what="the event")


async def test_what_was_pruned_can_be_restored(yard: Yard) -> None:
    _, leaves = await created(yard, concurrency_limit=4, queues=[{"name": "fast", "priority": 1}])
    before = yard.there(leaves)
    await yard.bring(prune=True)
    assert not yard.exists(leaves)
    async with connect() as api:
        (archive,) = [each for each in (await read_archives(api)).values() if each.pool == leaves]
        await restore(api, archive)
    after = yard.there(leaves)
    assert (after["concurrency_limit"], set(after["queues"])) == (4, set(before["queues"]))


async def test_a_pool_that_it_did_not_create_is_never_pruned(yard: Yard) -> None:
    stays, theirs = yard.name(), yard.pool()
    await yard.bring(spec(stays), spec(theirs, concurrency_limit=5))
    brought = await yard.bring(spec(stays), prune=True)
    assert yard.exists(theirs)
    assert brought.reasons[theirs] == "unmanaged: not in the spec"


async def test_a_pool_of_the_same_name_that_somebody_made_since_is_never_pruned(yard: Yard) -> None:
    _, leaves = await created(yard)
    yard.rest.delete_pool(leaves)
    yard.rest.pool(leaves)
    brought = await yard.bring(prune=True)
    assert yard.exists(leaves)
    assert brought.reasons[leaves] == "unmanaged: not in the spec"
    assert leaves not in yard.created()


async def test_a_pool_that_was_protected_when_it_left_is_never_pruned(yard: Yard) -> None:
    stays, leaves = await created(yard, protected=True)
    brought = await yard.bring(prune=True)
    assert yard.exists(leaves)
    assert "it was protected when it was last in it" in brought.reasons[leaves]
    await yard.bring(spec(stays), spec(leaves))
    await yard.bring(spec(stays), prune=True)
    assert not yard.exists(leaves)


async def test_also_a_plan_remembers_that_a_pool_is_protected_but_not_that_it_is_no_more(yard: Yard) -> None:
    stays, leaves = await created(yard)
    await yard.run(spec(stays), spec(leaves, protected=True), dry_run=True)
    assert yard.created()[leaves]["protected"]
    await yard.run(spec(stays), spec(leaves), dry_run=True)
    assert yard.created()[leaves]["protected"]
    await yard.bring(spec(stays), prune=True)
    assert yard.exists(leaves)


async def test_another_spec_does_not_prune_what_this_one_created(yard: Yard) -> None:
    stays, leaves = await created(yard)
    other = yard.path.with_name("other.yaml")
    other.write_text(yard.path.read_text())
    this, yard.path = yard.path, other
    await yard.bring(prune=True)
    assert yard.exists(leaves)
    assert yard.created()[stays]["spec"] == str(other)
    assert yard.created()[leaves]["spec"] == str(this)


def deployed(yard: Yard, pool: str) -> None:
    yard.rest.deployment(pool)


def scheduled(yard: Yard, pool: str) -> None:
    deployment = yard.rest.deployment(pool)
    yard.rest.run(deployment, "RUNNING")
    yard.rest.delete(f"/deployments/{deployment['id']}").raise_for_status()


def worked(yard: Yard, pool: str) -> None:
    yard.rest.worker(pool)


USES: dict[str, tuple[Callable[[Yard, str], None], str]] = {
    "a deployment": (deployed, "1 deployment"),
    "a run that has not ended": (scheduled, "1 run not ended"),
    "an online worker": (worked, "1 online worker"),
}


@pytest.mark.parametrize("use", USES)
async def test_a_pool_on_which_something_depends_is_not_pruned(yard: Yard, use: str) -> None:
    make, words = USES[use]
    _, leaves = await created(yard)
    make(yard, leaves)
    brought = await yard.bring(prune=True)
    assert yard.exists(leaves)
    assert f"and no longer in it, but something depends on it: {words} (" in brought.reasons[leaves]


async def test_what_comes_to_depend_on_it_just_before_keeps_a_pool_and_leaves_no_archive(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, leaves = await created(yard)
    write = Api.write

    async def busy(self: Api, method: Any, path: str, body: Any = None) -> Any:
        answer = await write(self, method, path, body)
        if path == "/block_documents/":
            yard.rest.deployment(leaves)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Api, "write", busy)
        brought = await yard.bring(prune=True)
    assert yard.exists(leaves)
    result, words = brought.became[leaves]
    assert result is Result.SKIPPED
    assert words.startswith("it changed meanwhile: 1 deployment (")
    async with connect() as api:
        assert [each for each in (await read_archives(api)).values() if each.pool == leaves] == []


async def test_a_prune_that_was_killed_before_any_of_its_writes_is_completed_by_the_next(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for writes in range(3):
        stays, leaves = await created(yard)
        with monkeypatch.context() as patch:
            done = dies_before(patch, Api, writes, is_ours)
            with pytest.raises(Killed):
                await yard.bring(prune=True)
        assert yard.exists(leaves) is (writes < 2), done
        await yard.bring(prune=True)
        assert (yard.exists(stays), yard.exists(leaves)) == (True, False)
        assert yard.created().keys() & {stays, leaves} == {stays}
        async with connect() as api:
            assert [each.pool for each in (await read_archives(api)).values()].count(leaves) == 1

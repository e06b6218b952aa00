"""Making again what was deleted, from its archive.

While that goes on, a note on the pool or queue says so. Whoever is killed in between leaves it, and the next restore
from the same archive goes on where that one was.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flows.policy.archive import Archive, ArchivedQueue, being_restored, check_restorable
from flows.policy.facts import PoolFacts
from flows.policy.pause_note import read_deletion, without_deletion
from flows.prefect_api.archive import forget_archive, queues_of, read_archives
from flows.prefect_api.client import Api, ApiProblem, NotFound
from flows.prefect_api.deployments import read_named_rows
from flows.prefect_api.paging import Row
from flows.prefect_api.paths import pool_path, queue_path
from flows.prefect_api.work_pools import read_pools


@dataclass(frozen=True, slots=True)
class Restored:
    """The names of the deployments that are attached again, and why which of the others are not; those that were
    deleted meanwhile are neither. `failed` are those of `left` that should have been."""

    attached: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    failed: frozenset[str] = frozenset()


async def restore(api: Api, archive: Archive) -> Restored:
    """Make again what was deleted; `BadInput` where its name is taken.

    A pool is made paused, and gets its own state when everything else is there.
    """
    pools = {pool.name: pool for pool in await read_pools(api)}
    queues = {row["name"]: row for row in await queues_of(api, archive.pool)} if archive.pool in pools else {}
    is_begun = archive.pool in pools and being_restored(archive, pools[archive.pool].description)
    others = [name for name, row in queues.items() if not being_restored(archive, row["description"])]
    check_restorable(archive, [name for name in pools if name != archive.pool or not is_begun], others)
    if archive.pool_fields and not is_begun:
        note = {"is_paused": True, "description": archive.note(archive.pool_fields.description)}
        await api.write("POST", "/work_pools/", archive.pool_fields.model_dump(exclude={"id"}) | note)
    # The default queue first: until it has its own name back it bears one that another may have.
    for queue in sorted(archive.queues, key=lambda each: (not each.is_default, each.priority)):
        await _make_queue(api, archive, queue)
    restored = await _attach_all(api, archive)
    own = archive.pool_fields or archive.queues[0]
    path = pool_path(archive.pool) if archive.pool_fields else queue_path(archive.pool, own.name)
    await api.write("PATCH", path, {"is_paused": own.is_paused, "description": own.description})
    return restored


async def undo_deletion(api: Api, pool: PoolFacts) -> Restored:
    """Give back a pool whose deletion was begun as it was before; what was archived for that is forgotten.

    Its runs that were cancelled stay cancelled.
    """
    note = read_deletion(pool.description)
    if note is None:
        raise NotFound(f"Work pool {pool.name!r} bears no note of a deletion.")
    archives = await read_archives(api)
    begun = {name: each for name, each in archives.items() if each.deletion == note.tag and each.pool == pool.name}
    restored = _summed([await _attach_all(api, each, back_from=each.moved_to) for each in begun.values()])
    # A person may have resumed it meanwhile.
    is_paused = pool.is_paused and note.was_paused
    changes = {"is_paused": is_paused, "description": without_deletion(pool.description)}
    await api.write("PATCH", pool_path(pool.name), changes)
    for name in begun:
        await forget_archive(api, name)
    return restored


async def _make_queue(api: Api, archive: Archive, queue: ArchivedQueue) -> None:
    """Prefect makes the default queue of a pool itself, and moves other queues where a new one takes their priority."""
    fields = queue.model_dump(include={"description", "is_paused", "concurrency_limit", "priority"})
    if archive.pool_fields is None:
        fields["description"] = archive.note(queue.description)
    rows = await queues_of(api, archive.pool)
    if not queue.is_default:
        if queue.name not in {row["name"] for row in rows}:
            await api.write("POST", f"{pool_path(archive.pool)}/queues", {"name": queue.name, **fields})
        return
    row = await api.read(pool_path(archive.pool))
    default = next(each for each in rows if each["id"] == row["default_queue_id"])
    changed = fields | ({"name": queue.name} if default["name"] != queue.name else {})
    await api.write("PATCH", queue_path(archive.pool, default["name"]), changed)


async def _attach_all(api: Api, archive: Archive, *, back_from: str = "") -> Restored:
    """Attach the deployments that are still there and have no pool, or that one, to the queues that they had."""
    queues = {each: queue.name for queue in archive.queues for each in queue.deployments}
    rows = sorted(await read_named_rows(api, list(queues)), key=lambda row: str(row["full_name"]))
    found = {row["id"]: await _attach(api, archive, queues[row["id"]], row, back_from) for row in rows}
    # Nobody could ask for these again: once the pool is back there is nothing to restore.
    for row in (row for row in rows if found[row["id"]].failed):
        found[row["id"]] = await _attach(api, archive, queues[row["id"]], row, back_from)
    return _summed(found.values())


async def _attach(api: Api, archive: Archive, queue: str, row: Row, back_from: str) -> Restored:
    """One that cannot go back does not keep the others. One that was paused with the pool is resumed."""
    name, there = str(row["full_name"]), row.get("work_pool_name")
    if there not in (None, archive.pool, back_from or None):
        return Restored(left=((name, f"it is in {there!r} now"),))
    body: dict[str, Any] = {} if there == archive.pool else {"work_pool_name": archive.pool, "work_queue_name": queue}
    if row["paused"] and row["id"] in archive.unpause:
        body["paused"] = False
    if not body:
        return Restored((name,))
    try:
        await api.write("PATCH", f"/deployments/{row['id']}", body)
    except NotFound:
        return Restored()
    except ApiProblem as problem:
        return Restored(left=((name, str(problem)),), failed=frozenset({name}))
    return Restored((name,))


def _summed(each: Iterable[Restored]) -> Restored:
    found = list(each)
    return Restored(
        tuple(name for one in found for name in one.attached),
        tuple(pair for one in found for pair in one.left),
        frozenset(name for one in found for name in one.failed),
    )

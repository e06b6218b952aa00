"""What is deleted is archived first, as a secret block: a base job template may hold passwords in plain text.

Prefect keeps the value of a secret block encrypted, and shows it to nobody who does not ask for secrets.
"""

from datetime import datetime
from typing import Any

from pydantic import ValidationError
from slugify import slugify

from flows.policy.archive import Archive, ArchivedPool, ArchivedQueue
from flows.policy.cleanup.idle_pools import without_mark
from flows.policy.pause_note import read_deletion, without_deletion
from flows.prefect_api.client import AlreadyThere, Api, NotFound, decode
from flows.prefect_api.deployments import read_rows
from flows.prefect_api.paging import Row, read_all
from flows.prefect_api.paths import pool_path, queue_path

PREFIX = "poolkeeper-archive"
LONGEST_SLUG = 60
DOCUMENTS = "/block_documents/"


async def archive_pool(api: Api, name: str, *, reason: str, now: datetime) -> str:
    """Keep a work pool with its queues. The name of the block that holds it."""
    return await keep_pool(api, await snapshot_pool(api, name, reason=reason, now=now))


async def snapshot_pool(
    api: Api, name: str, *, reason: str, now: datetime, pauses: bool = False, moved_to: str = ""
) -> Archive:
    """A work pool with its queues as it is; as it was before its deletion began, where it stands half-deleted.

    Without the mark that it is idle: restored, it is not to be deleted at once. `pauses`: its deployments are about to
    be paused, and have to be resumed with it.
    """
    row = await api.read(pool_path(name))
    deletion = read_deletion(row.get("description"))
    row["is_paused"] = deletion.was_paused if deletion else row["is_paused"]
    row["description"] = without_mark(without_deletion(row.get("description")))
    (pool,) = decode([row], "work pool", _archived_pool)
    queues = [await _with_deployments(api, each, row["default_queue_id"]) for each in await queues_of(api, name)]
    attached = await read_rows(api, {"work_pools": {"name": {"any_": [name]}}}) if pauses else []
    archive = Archive(
        pool=name,
        pool_fields=pool,
        queues=queues,
        archived_at=now,
        reason=reason,
        deletion=deletion.tag if deletion else "",
        unpause=[each["id"] for each in attached if not each["paused"]],
        moved_to=moved_to,
    )
    earlier = (await read_archives(api)).get(_name(archive, pool.id)) if deletion else None
    return archive.joined_with(earlier) if earlier and earlier.deletion == archive.deletion else archive


async def keep_pool(api: Api, archive: Archive) -> str:
    """Keep what was seen of a work pool. The name of the block that holds it."""
    return await _keep(api, archive, archive.pool_fields.id if archive.pool_fields else "")


async def archive_queue(api: Api, pool: str, queue_name: str, *, reason: str, now: datetime) -> str:
    """Keep one work queue. The name of the block that holds it."""
    row = await api.read(queue_path(pool, queue_name))
    queue = await _with_deployments(api, row, None)
    return await _keep(
        api, Archive(pool=pool, pool_fields=None, queues=[queue], archived_at=now, reason=reason), queue.id
    )


async def forget_archive(api: Api, name: str) -> None:
    """Nothing was deleted after all."""
    try:
        there = await api.read(_block(name))
        await api.write("DELETE", f"{DOCUMENTS}{there['id']}")
    except NotFound:
        return


async def read_archives(api: Api) -> dict[str, Archive]:
    """Everything that is archived, by the names of the blocks. What somebody has made unreadable is left out."""
    body = {
        "block_documents": {"name": {"like_": f"{PREFIX}-%"}, "is_anonymous": {"eq_": False}},
        "include_secrets": True,
        "sort": "NAME_ASC",
    }
    found = {}
    for row in await read_all(api, f"{DOCUMENTS}filter", body):
        try:
            found[str(row["name"])] = Archive.model_validate_json(row["data"]["value"])
        except (ValidationError, KeyError, TypeError):
            continue
    return found


async def _keep(api: Api, archive: Archive, id_: str) -> str:
    """One block for each thing: archived again, it takes the place of what was archived before."""
    name = _name(archive, id_)
    data = {"value": archive.model_dump_json()}
    type_id, schema_id = await _secret_type(api)
    body = {"name": name, "block_type_id": type_id, "block_schema_id": schema_id, "data": data}
    try:
        await api.write("POST", DOCUMENTS, body)
    except AlreadyThere:
        there = await api.read(_block(name))
        await api.write("PATCH", f"{DOCUMENTS}{there['id']}", {"data": data, "merge_existing_data": False})
    return name


def _name(archive: Archive, id_: str) -> str:
    return f"{PREFIX}-{slugify(archive.shown, max_length=LONGEST_SLUG) or 'unnamed'}-{id_[:8]}"


def _block(name: str) -> str:
    return f"/block_types/slug/secret/block_documents/name/{name}"


async def _secret_type(api: Api) -> tuple[str, str]:
    """The ids of the type and of the schema of secret blocks, which every server has or can install."""
    try:
        found = await api.read("/block_types/slug/secret")
    except NotFound:
        await api.write("POST", "/block_types/install_system_block_types", {})
        found = await api.read("/block_types/slug/secret")
    schemas = await api.read("/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [found["id"]]}}})
    return str(found["id"]), str(schemas[0]["id"])


async def _with_deployments(api: Api, row: Row, default_id: str | None) -> ArchivedQueue:
    attached = await read_rows(api, {"work_pool_queues": {"id": {"any_": [row["id"]]}}})
    (queue,) = decode([row], "work queue", _archived_queue)
    is_default = row["id"] == default_id
    return queue.model_copy(update={"is_default": is_default, "deployments": [each["id"] for each in attached]})


async def queues_of(api: Api, pool: str) -> list[Row]:
    return await read_all(api, f"{pool_path(pool)}/queues/filter", {})


def _archived_pool(row: Row) -> ArchivedPool:
    fields: dict[str, Any] = {name: row.get(name) for name in ArchivedPool.model_fields}
    return ArchivedPool.model_validate(fields | {"storage_configuration": row.get("storage_configuration") or {}})


def _archived_queue(row: Row) -> ArchivedQueue:
    fields = {name: row[name] for name in ArchivedQueue.model_fields if name in row}
    return ArchivedQueue.model_validate(fields)

"""What the flows leave in Prefect for people and for their own next run: artifacts by key."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.runtime import flow_run

from flows.policy.plan import Number
from flows.prefect_api.client import Api, ApiProblem, NotFound, instant

Row = Mapping[str, Number]

# A page of the UI shows this much of a table without trouble; more goes into further parts.
ROWS_PER_PART = 10_000
# Two days of a report that comes every 15 minutes. Without an end the reports would outgrow what they report on.
KEPT_VERSIONS = 200
FORGOTTEN_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows kept under a key, and since when."""

    rows: list[dict[str, Any]]
    kept_at: datetime


async def publish(
    api: Api,
    key: str,
    *,
    description: str,
    markdown: str,
    rows: Sequence[Row],
    calendar: str = "",
    earlier: Sequence[str] = (),
) -> list[str]:
    """Leave a page, its table and, where there is one, its calendar under the key; the ids of what was written.

    The description, Markdown, is what the page of the key shows of each.

    With the ids of an `earlier` publication of the same run, that one is brought up to date instead.
    """
    made = parts(key, markdown, rows, calendar)
    if len(earlier) == 1 + _number_of_tables(rows) + bool(calendar):
        for artifact_id, (_, _, data) in zip(earlier, made, strict=True):
            await api.write("PATCH", f"/artifacts/{artifact_id}", {"data": data, "description": description})
        return list(earlier)
    keys, ids = [], []
    for part_key, kind, data in made:
        keys.append(part_key)
        ids.append(await _create(api, part_key, kind, data, description))
    for part_key in keys:
        await _forget(api, part_key)
    return ids


async def publish_page(api: Api, key: str, *, description: str, markdown: str) -> None:
    """Leave a page under the key, without a table."""
    await _create(api, key, "markdown", markdown, description)
    await _forget(api, key)


async def read_record(api: Api, key: str) -> Kept | None:
    """The rows last kept under the key, or None where nothing readable is kept."""
    try:
        artifact = await api.read(f"/artifacts/{key}/latest")
        rows, kept_at = json.loads(artifact["data"]), instant(artifact["updated"])
    except (NotFound, ValueError, TypeError, KeyError):
        return None
    return Kept(rows, kept_at) if isinstance(rows, list) and kept_at else None


async def keep_record(api: Api, key: str, rows: Sequence[Row], description: str) -> None:
    """Keep rows under the key until they are replaced. Earlier ones stay readable in the key's history."""
    await _create(api, key, "table", json.dumps([dict(row) for row in rows]), description)
    await _forget(api, key)


def _number_of_tables(rows: Sequence[Row]) -> int:
    """An empty table is one as well."""
    return max(1, -(-len(rows) // ROWS_PER_PART))


def parts(key: str, markdown: str, rows: Sequence[Row], calendar: str) -> Iterator[tuple[str, str, str]]:
    """Key, type and data of each, one after the other: a long table is not in memory as a whole."""
    yield key, "markdown", markdown
    for number in range(_number_of_tables(rows)):
        part = rows[number * ROWS_PER_PART : (number + 1) * ROWS_PER_PART]
        yield f"{key}-table" + (f"-{number + 1}" if number else ""), "table", json.dumps([dict(row) for row in part])
    if calendar:
        yield f"{key}-calendar", "markdown", calendar


async def _create(api: Api, key: str, kind: str, data: str, description: str) -> str:
    body: dict[str, Any] = {"key": key, "type": kind, "data": data, "description": description}
    if run_id := flow_run.get_id():
        body["flow_run_id"] = str(UUID(run_id))
    artifact = await api.write("POST", "/artifacts/", body)
    return str(artifact["id"])


async def _forget(api: Api, key: str) -> None:
    """Delete versions of one of the keeper's own records beyond those that are kept, a few at a time."""
    query = {
        "artifacts": {"key": {"any_": [key]}},
        "sort": "CREATED_DESC",
        "offset": KEPT_VERSIONS,
        "limit": FORGOTTEN_AT_ONCE,
    }
    try:
        for old in await api.read("/artifacts/filter", query):
            await api.write("DELETE", f"/artifacts/{old['id']}")
    except ApiProblem:
        # Somebody else forgot it first, or the server is busy: the next run tries again.
        return

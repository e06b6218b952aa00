"""When workers whose rows are deleted were last seen, kept as an artifact: it tells that their pools were in use."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from flows.policy.cleanup.unused import SeenWorker
from flows.prefect_api.client import Api, instant
from flows.prefect_api.records import keep_record, read_record

KEY = "pool-cleanup-workers"
DESCRIPTION = "When the last of the workers of each work pool was seen whose rows were cleared away."
# Nobody asks for longer whether a pool was in use.
REMEMBERED = timedelta(days=400)


async def remember_workers(api: Api, workers: Sequence[SeenWorker], now: datetime) -> None:
    """Keep of each pool when one of these workers was seen last, before their rows go."""
    rows = await _rows(api)
    seen = {row["pool_id"]: row for row in rows if (instant(row["seen_at"]) or now) > now - REMEMBERED}
    for worker in sorted(workers, key=lambda each: each.seen_at):
        known = instant(seen[worker.pool_id]["seen_at"]) if worker.pool_id in seen else None
        if known is None or known < worker.seen_at:
            row = {"pool": worker.pool, "worker": worker.name, "seen_at": worker.seen_at.isoformat()}
            seen[worker.pool_id] = row | {"pool_id": worker.pool_id}
    if list(seen.values()) != rows:
        await keep_record(api, KEY, list(seen.values()), DESCRIPTION)


async def read_remembered(api: Api) -> dict[str, datetime]:
    """When the last worker of a pool was seen, by the pool's id, as far as rows of its workers were cleared away."""
    found = {row["pool_id"]: instant(row["seen_at"]) for row in await _rows(api)}
    return {pool_id: at for pool_id, at in found.items() if at}


async def _rows(api: Api) -> list[dict[str, Any]]:
    kept = await read_record(api, KEY)
    rows = kept.rows if kept else []
    return [row for row in rows if isinstance(row, dict) and {"pool_id", "seen_at"} <= row.keys()]

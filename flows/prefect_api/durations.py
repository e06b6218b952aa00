"""How long the latest runs of deployments took."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from flows.prefect_api.client import Api, decode
from flows.prefect_api.flow_runs import in_states
from flows.prefect_api.paging import PAGE, Row

# Of each deployment so many of its latest runs, fewer where that would be more rows than these in all.
RUNS_WANTED, RUNS_NEEDED = 20, 5
ROWS = 10_000
# So many deployments are asked about at once.
TOGETHER = 200


async def read_durations(api: Api, deployment_ids: Sequence[str]) -> dict[str, tuple[timedelta, ...]]:
    """The durations of the latest completed runs by deployment id; deployments that completed none are missing."""
    if not deployment_ids:
        return {}
    wanted = max(RUNS_NEEDED, min(RUNS_WANTED, ROWS // len(deployment_ids)))
    groups = [deployment_ids[start : start + TOGETHER] for start in range(0, len(deployment_ids), TOGETHER)]
    found = await asyncio.gather(*(_latest(api, group, wanted) for group in groups))
    return {key: tuple(past[:wanted]) for group in found for key, past in group.items() if past}


async def _latest(api: Api, deployment_ids: Sequence[str], wanted: int) -> dict[str, list[timedelta]]:
    """Go back in time page by page, and ask no more for those of which there are enough."""
    found: dict[str, list[timedelta]] = {key: [] for key in deployment_ids}
    seen: set[str] = set()
    before: str | None = None
    while missing := {key: wanted - len(past) for key, past in found.items() if len(past) < wanted}:
        runs: dict[str, Any] = in_states("COMPLETED") | {"deployment_id": {"any_": list(missing)}}
        if before is not None:
            runs["end_time"] = {"before_": before}
        # One more than needed: the bound is included, so that a page begins with the last row of the one before.
        limit = min(PAGE, sum(missing.values()) + 1)
        rows: list[Row] = await api.read(
            "/flow_runs/filter", {"flow_runs": runs, "sort": "END_TIME_DESC", "limit": limit}
        )
        new = [row for row in rows if row["id"] not in seen]
        seen = {row["id"] for row in rows}
        for key, duration in filter(None, decode(new, "flow run", _duration)):
            found[key].append(duration)
        if len(rows) < limit or rows[-1]["end_time"] == before:
            break
        before = rows[-1]["end_time"]
    return found


def _duration(row: Row) -> tuple[str, timedelta] | None:
    if not row.get("start_time") or not row.get("end_time"):
        return None
    length = datetime.fromisoformat(row["end_time"]) - datetime.fromisoformat(row["start_time"])
    return row["deployment_id"], max(timedelta(), length)

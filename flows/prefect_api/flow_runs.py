"""Flow runs, as facts and as counts by pool."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flows.policy.facts import RunFacts
from flows.prefect_api.client import Api, decode, instant
from flows.prefect_api.paging import PAGE, Made, Row, read_all_as, read_grouped

# A page of runs costs a server about as much as this many counts.
COUNTS_PER_PAGE = 20

# Cancelled runs are left out on purpose: they say nothing about whether a pool works.
FINISHED = ("COMPLETED", "FAILED", "CRASHED")
FAILED = ("FAILED", "CRASHED")
HOLDING_A_SLOT = ("PENDING", "RUNNING")
ACTIVE = (*HOLDING_A_SLOT, "CANCELLING")
UNFINISHED = ("SCHEDULED", *ACTIVE, "PAUSED")

Filter = dict[str, Any]


def in_states(*types: str) -> Filter:
    return {"state": {"type": {"any_": list(types)}}}


def of_deployment(deployment_id: str) -> Filter:
    return {"deployment_id": {"any_": [deployment_id]}}


def late() -> Filter:
    return {"state": {"name": {"any_": ["Late"]}}}


def ended(types: Sequence[str], since: datetime) -> Filter:
    """Runs that ended in a state of these types at `since` or later.

    There is no upper bound: nothing ends in the future, and a busy server tells the time late.
    """
    return in_states(*types) | {"end_time": {"after_": since.isoformat()}}


def was_expected(*, after: datetime | None = None, before: datetime | None = None) -> Filter:
    """Runs that were first expected to start from `after` to `before`, both included."""
    bounds = {"after_": after, "before_": before}
    return {"expected_start_time": {name: at.isoformat() for name, at in bounds.items() if at is not None}}


async def read_run_rows(api: Api, runs: Filter, pools: Sequence[str] | None = None) -> list[Row]:
    """All runs the filter selects, as Prefect describes them."""
    return await read_runs_as(list, api, runs, pools)


async def read_runs_as(
    make: Callable[[list[Row]], Sequence[Made]], api: Api, runs: Filter, pools: Sequence[str] | None = None
) -> list[Made]:
    """The same, each page made into something smaller at once."""
    return await read_all_as(make, api, "/flow_runs/filter", _body(runs, pools) | {"sort": "ID_DESC"})


async def read_runs(api: Api, runs: Filter, pools: Sequence[str] | None = None) -> list[RunFacts]:
    """All runs the filter selects, of these pools (None: of any pool or none), newest id first."""
    return await read_runs_as(lambda page: decode(page, "flow run", run_facts), api, runs, pools)


async def read_first_runs(api: Api, runs: Filter, pools: Sequence[str], *, most: int) -> list[RunFacts]:
    """The runs of these pools that were expected first; at most a page of them."""
    body = _body(runs, pools) | {"sort": "EXPECTED_START_TIME_ASC", "limit": min(most, PAGE)}
    return decode(await api.read("/flow_runs/filter", body), "flow run", run_facts)


async def count_runs(api: Api, runs: Filter, pools: Sequence[str] | None = None) -> int:
    count: int = await api.read("/flow_runs/count", _body(runs, pools))
    return count


async def count_by_pool(api: Api, runs: Filter, pools: Sequence[str], *, whole_server: bool) -> dict[str, int]:
    """How many runs the filter selects in each of these pools; pools with none may be missing.

    Rows are read where that is fewer requests' worth of work than a count for each pool.
    """
    total = await count_runs(api, runs, None if whole_server else pools)
    if total == 0:
        return {}
    pages = -(-total // PAGE)
    if pages * COUNTS_PER_PAGE <= len(pools):
        body = _body(runs, None if whole_server else pools) | {"sort": "ID_DESC"}
        rows = await read_grouped(api, "/flow_runs/filter", body, lambda row: row.get("work_pool_name"))
        return {pool: len(found) for pool, found in rows.items()}
    counts = await asyncio.gather(*(count_runs(api, runs, [pool]) for pool in pools))
    return dict(zip(pools, counts, strict=True))


async def count_by_deployment(api: Api, runs: Filter, deployment_ids: Sequence[str]) -> Mapping[str, int]:
    """How many runs the filter selects of each of these deployments; deployments with none are missing."""
    if not deployment_ids:
        return {}
    body = {"flow_runs": runs | {"deployment_id": {"any_": list(deployment_ids)}}, "sort": "ID_DESC"}
    rows = await read_grouped(api, "/flow_runs/filter", body, lambda row: row.get("deployment_id"))
    return {deployment: len(found) for deployment, found in rows.items()}


def _body(runs: Filter, pools: Sequence[str] | None) -> dict[str, Any]:
    body: dict[str, Any] = {"flow_runs": runs}
    if pools is not None:
        body["work_pools"] = {"name": {"any_": list(pools)}}
    return body


def run_facts(row: Row) -> RunFacts:
    state = row.get("state") or {}
    return RunFacts(
        id=row["id"],
        name=row["name"],
        pool=row.get("work_pool_name"),
        queue_id=row.get("work_queue_id"),
        deployment_id=row.get("deployment_id"),
        state_type=row["state_type"],
        state_name=row["state_name"],
        since=instant(state.get("timestamp")) or datetime.fromisoformat(row["created"]),
        expected_start_at=instant(row.get("expected_start_time")),
    )

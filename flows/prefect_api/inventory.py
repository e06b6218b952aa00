"""What an inventory observes, and the record it leaves for the next one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from flows.policy.changes import next_record
from flows.policy.facts import PoolFacts
from flows.policy.fleet import FleetRecord, InventoryFacts, PoolRecord
from flows.policy.selection import Selection
from flows.prefect_api.client import Api
from flows.prefect_api.deployments import read_deployments
from flows.prefect_api.fleet import observe_fleet
from flows.prefect_api.flow_runs import late, read_first_runs
from flows.prefect_api.records import keep_record, read_record

RECORD_KEY = "pool-inventory-record"
# Deployments are slow to read; these many late runs tell why a pool's runs are late.
LATE_RUNS_EXPLAINED = 50
RECORD_DESCRIPTION = "What the last inventory saw of each work pool; the next one compares with it."


async def observe_inventory(
    api: Api, every_pool: Sequence[PoolFacts], selection: Selection, *, now: datetime, window_hours: int
) -> InventoryFacts:
    """The selected pools as they are now; for one pool asked for by name, also its late runs."""
    fleet = await observe_fleet(api, every_pool, selection, since=now - timedelta(hours=window_hours))
    facts = InventoryFacts(selection, fleet, now, window_hours, record=await _read_record(api))
    if selection.narrowed_to is None:
        return facts
    late_runs = await read_first_runs(api, late(), [selection.narrowed_to], most=LATE_RUNS_EXPLAINED)
    deployments = await read_deployments(api, sorted({run.deployment_id for run in late_runs if run.deployment_id}))
    return replace(facts, late_runs=tuple(late_runs), deployments=deployments)


async def keep_fleet_record(api: Api, facts: InventoryFacts) -> None:
    """Keep what was seen, where it differs from what is kept. An inspected pool leaves the fleet's record alone."""
    kept = tuple(each for _, each in sorted(facts.record.pools.items())) if facts.record else None
    wanted = next_record(facts)
    if facts.selection.names and facts.selection.narrowed_to is None and wanted != kept:
        await keep_record(api, RECORD_KEY, [each.model_dump() for each in wanted], RECORD_DESCRIPTION)


async def _read_record(api: Api) -> FleetRecord | None:
    found = await read_record(api, RECORD_KEY)
    if found is None:
        return None
    try:
        pools = [PoolRecord.model_validate(row) for row in found.rows]
    except ValidationError:
        # Written by another version: as good as none, and replaced by this one's.
        return None
    return FleetRecord({each.pool: each for each in pools}, found.kept_at)

"""pool-inventory: which work pools exist, and which need attention? Changes nothing."""

from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.apply import apply, conclude, run_name
from flows.policy.failure_threshold import FailureThreshold
from flows.policy.pool_health import decide_findings, find
from flows.policy.selection import select_pools
from flows.prefect_api import connect
from flows.prefect_api.inventory import keep_fleet_record, observe_inventory
from flows.prefect_api.work_pools import read_pools
from flows.report.inventory import inventory_report
from flows.report.page import report_key

JOB = "pool-inventory"

observe = task(name="observe", cache_policy=NO_CACHE, persist_result=False)(observe_inventory)


@flow(name=JOB, flow_run_name=run_name)
async def inventory(
    pools: list[str] = ["*"],  # noqa: B006 - the form shows a signature's default; nobody changes it
    exclude: list[str] = [],  # noqa: B006 - as above
    window_hours: Annotated[int, Field(ge=1, le=744)] = 24,
) -> State:
    """Which work pools exist, and which need attention? Changes nothing.

    Args:
        pools: Names of work pools or patterns such as `etl-*`. One plain name inspects that pool in detail: settings,
            template, queues, workers, what holds its slots, why each late run is late.
        exclude: Names or patterns of work pools to leave out.
        window_hours: How many hours back to count finished and failed runs (1 to 744).
    """
    return await conclude(_inventory(pools, exclude, window_hours))


async def _inventory(pools: list[str], exclude: list[str], window_hours: int) -> State:
    async with connect() as api:
        now = await api.server_time()
        every_pool = await read_pools(api)
        selection = select_pools(pools, exclude, [pool.name for pool in every_pool])
        facts = await observe(api, every_pool, selection, now=now, window_hours=window_hours)
        findings = {state.pool.name: find(state, now, FailureThreshold()) for state in facts.fleet.pools}
        key = report_key(JOB, selection.narrowed_to)
        plan = decide_findings(facts.fleet, findings)
        end = await apply(api, plan, lambda _: inventory_report(facts, findings, key), key=key)
        await keep_fleet_record(api, facts)
        return end

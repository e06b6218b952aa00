"""The whole fleet, or the selected part of it, as it is now."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from flows.policy.facts import PoolFacts, RunFacts
from flows.policy.fleet import FleetFacts, PoolState
from flows.policy.selection import Selection
from flows.prefect_api.client import Api
from flows.prefect_api.deployments import count_by_pool as count_deployments_by_pool
from flows.prefect_api.deployments import read_without_pool
from flows.prefect_api.flow_runs import (
    FAILED,
    FINISHED,
    HOLDING_A_SLOT,
    count_by_pool,
    ended,
    in_states,
    late,
    read_runs,
)
from flows.prefect_api.work_pools import read_queues, read_workers


async def observe_fleet(
    api: Api, every_pool: Sequence[PoolFacts], selection: Selection, *, since: datetime
) -> FleetFacts:
    """The selected pools with all that the inventory shows; finished and failed runs are counted from `since` on.

    Pools that are deleted meanwhile are named in `gone`.
    """
    names = frozenset(pool.name for pool in every_pool)
    selected = frozenset(selection.names)
    wanted = [pool for pool in every_pool if pool.name in selected]
    if not wanted:
        return FleetFacts(pools=(), names_on_server=names)
    states, gone = await _observe_counted(api, wanted, since, pools_on_server=len(names))
    without_pool, unlisted = await read_without_pool(api) if selected == names else ([], 0)
    return FleetFacts(
        pools=states,
        names_on_server=names,
        without_pool=tuple(without_pool),
        unlisted_without_pool=unlisted,
        gone=gone,
    )


async def _observe_counted(
    api: Api, pools: Sequence[PoolFacts], since: datetime, *, pools_on_server: int
) -> tuple[tuple[PoolState, ...], tuple[str, ...]]:
    names = [pool.name for pool in pools]
    whole = len(names) == pools_on_server
    (states, gone), deployments, late_runs, finished = await asyncio.gather(
        observe_pools(api, pools, pools_on_server=pools_on_server),
        count_deployments_by_pool(api, names),
        count_by_pool(api, late(), names, whole_server=whole),
        count_by_pool(api, ended(FINISHED, since), names, whole_server=whole),
    )
    ran = [name for name in names if finished.get(name)]
    failed = await count_by_pool(api, ended(FAILED, since), ran, whole_server=whole) if ran else {}

    def counted(state: PoolState) -> PoolState:
        name = state.pool.name
        return replace(
            state,
            deployments=deployments.get(name, 0),
            late=late_runs.get(name, 0),
            finished=finished.get(name, 0),
            # They are counted one after the other, and runs go on ending.
            failed=min(failed.get(name, 0), finished.get(name, 0)),
        )

    return tuple(map(counted, states)), gone


async def observe_pools(
    api: Api, pools: Sequence[PoolFacts], *, pools_on_server: int
) -> tuple[tuple[PoolState, ...], tuple[str, ...]]:
    """These pools with their queues, workers and the runs that hold slots, nothing counted; and the names of those
    that are deleted meanwhile."""
    names = [pool.name for pool in pools]
    queues, workers, unfinished = await asyncio.gather(
        read_queues(api, names, pools_on_server=pools_on_server),
        read_workers(api, names),
        read_runs(api, in_states(*HOLDING_A_SLOT, "CANCELLING"), None if len(names) == pools_on_server else names),
    )
    active = _by_pool(run for run in unfinished if run.state_type in HOLDING_A_SLOT)
    cancelling = _by_pool(run for run in unfinished if run.state_type == "CANCELLING")

    def state(pool: PoolFacts) -> PoolState:
        return PoolState(
            pool=pool,
            queues=tuple(queues[pool.name]),
            workers=tuple(workers[pool.name] or ()),
            active=tuple(active.get(pool.name, ())),
            cancelling=tuple(cancelling.get(pool.name, ())),
        )

    gone = tuple(name for name in names if workers[name] is None)
    return tuple(state(pool) for pool in pools if workers[pool.name] is not None), gone


def _by_pool(runs: Iterable[RunFacts]) -> dict[str, list[RunFacts]]:
    found: dict[str, list[RunFacts]] = {}
    for run in runs:
        if run.pool is not None:
            found.setdefault(run.pool, []).append(run)
    return found

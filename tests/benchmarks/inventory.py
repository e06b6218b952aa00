"""Which work pools exist, and which need attention: queues, workers, deployments and runs of each."""

# ruff: noqa: PLC0415

from collections import Counter
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks.client_loop import read_pages
from tests.benchmarks.command_line import measure_commands
from tests.benchmarks.measure import ONCE, OURS, SELDOM, Job, Measurement, Meter, Setting, Totals, Way, measure
from tests.benchmarks.replay import connect_at_the_fill, floor

if TYPE_CHECKING:
    from datetime import datetime

    from prefect.client.orchestration import PrefectClient

NAME = "inventory"
WINDOW_HOURS = 24


async def _poolkeeper(setting: Setting, meter: Meter) -> Totals:
    """What the flow does before it reports: observe and decide."""
    from flows.policy.failure_threshold import FailureThreshold
    from flows.policy.pool_health import decide_findings, find
    from flows.policy.selection import select_pools
    from flows.prefect_api.inventory import observe_inventory
    from flows.prefect_api.work_pools import read_pools

    async with connect_at_the_fill(setting, NAME) as api:
        with meter("observe"):
            now = await api.server_time()
            every_pool = await read_pools(api)
            selection = select_pools(["*"], [], [pool.name for pool in every_pool])
            facts = await observe_inventory(api, every_pool, selection, now=now, window_hours=WINDOW_HOURS)
        with meter("decide"):
            findings = {state.pool.name: find(state, now, FailureThreshold()) for state in facts.fleet.pools}
            decide_findings(facts.fleet, findings)
    pools = facts.fleet.pools
    return {
        "pools": len(pools),
        "queues": sum(len(state.queues) for state in pools),
        "workers": sum(len(state.workers) for state in pools),
        "deployments": sum(state.deployments for state in pools),
        "active": sum(len(state.active) for state in pools),
        "late": sum(state.late for state in pools),
        "finished": sum(state.finished for state in pools),
        "failed": sum(state.failed for state in pools),
    }


async def _client_loop(setting: Setting, meter: Meter) -> Totals:
    from prefect.client.orchestration import get_client

    totals: Counter[str] = Counter()
    async with get_client() as client:
        with meter():
            for pool in await read_pages(client.read_work_pools):
                totals.update(await _pool_facts(client, pool.name, setting.filled_at))
    return dict(totals)


async def _pool_facts(client: "PrefectClient", pool: str, now: "datetime") -> Totals:
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    only_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    queues = await client.read_work_queues(work_pool_name=pool)
    workers = await client.read_workers_for_work_pool(work_pool_name=pool)
    deployments = await read_pages(client.read_deployments, work_pool_filter=only_pool)
    runs = await _count_runs(client, pool, now)
    return {"pools": 1, "queues": len(queues), "workers": len(workers), "deployments": len(deployments), **runs}


async def _count_runs(client: "PrefectClient", pool: str, now: "datetime") -> Totals:
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    def in_types(*types: StateType) -> filters.FlowRunFilterState:
        return filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(types)))

    late = filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=["Late"]))
    ended = filters.FlowRunFilterEndTime(after_=now - timedelta(hours=WINDOW_HOURS))  # type: ignore[arg-type]
    failed = (StateType.FAILED, StateType.CRASHED)
    questions = {
        "active": filters.FlowRunFilter(state=in_types(StateType.PENDING, StateType.RUNNING)),
        "late": filters.FlowRunFilter(state=late),
        "finished": filters.FlowRunFilter(end_time=ended, state=in_types(StateType.COMPLETED, *failed)),
        "failed": filters.FlowRunFilter(end_time=ended, state=in_types(*failed)),
    }
    only_pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool]))
    return {
        name: await client.count_flow_runs(flow_run_filter=question, work_pool_filter=only_pool)
        for name, question in questions.items()
    }


def _command_line(setting: Setting) -> Measurement:
    """Nothing of workers, deployments, late or failed runs."""
    return measure_commands(setting, [["ls"]], [["inspect"], ["slots"]])


JOB = Job(
    NAME,
    (
        Way(OURS, lambda setting: measure(partial(_poolkeeper, setting))),
        floor(NAME),
        Way("client", lambda setting: measure(partial(_client_loop, setting)), most_rounds=SELDOM),
        Way("cli", _command_line, most_rounds=ONCE),
    ),
    lambda size: size.ended_within(hours=WINDOW_HOURS),
)

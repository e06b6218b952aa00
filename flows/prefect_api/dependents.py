"""What depends on a work pool: its deployments, runs that have not ended, workers, and automations that name it."""

from datetime import datetime

from flows.policy.dependents import DependentRun, Dependents
from flows.policy.facts import PoolFacts
from flows.policy.mentions import naming
from flows.prefect_api.archive import queues_of
from flows.prefect_api.automations import read_automations
from flows.prefect_api.client import Api, ApiProblem, decode, instant
from flows.prefect_api.deployments import count_deployments, facts_of, read_rows
from flows.prefect_api.flow_runs import UNFINISHED, in_states, read_run_rows
from flows.prefect_api.paging import Row
from flows.prefect_api.work_pools import read_workers


async def observe_dependents(api: Api, pool: PoolFacts) -> Dependents:
    """All of it. `ApiProblem` where some of it cannot be read: then nobody knows whether the pool can go."""
    of_pool = {"work_pools": {"name": {"any_": [pool.name]}}}
    rows = await read_rows(api, of_pool)
    if (unread := await count_deployments(api, of_pool) - len(rows)) > 0:
        raise ApiProblem(
            f"{unread} of the deployments of work pool {pool.name!r} could not be read, so that it is not known what "
            "depends on it. Nothing was deleted. Look at the server's log, or detach them, and run again."
        )
    deployments = (await facts_of(api, rows)).values()
    runs = decode(await read_run_rows(api, in_states(*UNFINISHED), [pool.name]), "flow run", _run)
    return Dependents(
        deployments=tuple(sorted(deployments, key=lambda each: each.name)),
        runs=tuple(sorted(runs, key=lambda run: (run.since, run.id))),
        workers=tuple((await read_workers(api, [pool.name]))[pool.name] or ()),
        automations=await _automations(api, pool),
    )


async def _automations(api: Api, pool: PoolFacts) -> dict[str, str]:
    """The automations that name the pool or one of its queues, by id."""
    names = naming([pool.name, pool.id, *(queue["id"] for queue in await queues_of(api, pool.name))])
    rows = [row for same_name in (await read_automations(api)).values() for row in same_name]
    parts = ("trigger", "actions", "actions_on_trigger", "actions_on_resolve")
    return {row["id"]: row["name"] for row in rows if any(names(row.get(part)) for part in parts)}


def _run(row: Row) -> DependentRun:
    state = row.get("state") or {}
    return DependentRun(
        id=row["id"],
        name=row["name"],
        deployment_id=row.get("deployment_id"),
        state_type=row["state_type"],
        state_name=row["state_name"],
        since=instant(state.get("timestamp")) or datetime.fromisoformat(row["created"]),
        due_at=instant(row.get("next_scheduled_start_time") or row.get("expected_start_time")),
        auto_scheduled=row["auto_scheduled"],
        starts=row["run_count"],
    )

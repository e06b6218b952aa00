"""`poolkeeper doctor`: whether this server can be administered, in one screen."""

from datetime import datetime

from deployments.install import drift
from deployments.preflight import observe_server
from deployments.project import management_pool, wanted_automations, wanted_deployments
from deployments.waiting import until
from flows.policy.cleanup.kinds import Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.cleanup.stuck_runs import decide_stuck_runs
from flows.policy.drift import differences
from flows.policy.facts import PoolFacts
from flows.policy.fleet import PoolState
from flows.policy.keeper_health import MISSED_AFTER, InstalledFacts, KeeperFacts, check_keeper
from flows.policy.plan import Verb
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from flows.policy.server_health import Check, check_server
from flows.prefect_api import Api, automations, own
from flows.prefect_api.flow_runs import HOLDING_A_SLOT, count_runs, in_states, read_runs
from flows.prefect_api.paging import Row
from flows.prefect_api.stuck_runs import observe_stuck_runs
from flows.prefect_api.work_pools import read_pool, read_workers

# A scheduler makes the first runs of a new deployment within seconds; ask it again until then.
SECONDS_FOR_THE_SCHEDULER = 15
# Own runs give a sign of life every three minutes, if not set otherwise.
LOST_AFTER_MINUTES = 15


async def examine(api: Api) -> tuple[Check, ...]:
    """Every check there is; the keeper's own only where the server can be used."""
    server = check_server(await observe_server(api))
    if not all(check.is_well for check in server):
        return server
    return (*server, *check_keeper(await _observe_keeper(api)))


async def _observe_keeper(api: Api) -> KeeperFacts:
    wanted, now = wanted_deployments(), await api.server_time()
    pool = await _observe_pool(api, management_pool())
    rows = {each.name: await own.find_deployment(api, each.name) for each in wanted}
    scheduling = [row["id"] for row in rows.values() if row and _active_schedules(row)]
    return KeeperFacts(
        pool_name=management_pool(),
        pool=pool,
        deployments=tuple(
            InstalledFacts(each.name, drift(each, rows[each.name]), any(own.switched_off(rows[each.name])))
            for each in wanted
        ),
        automations=await _observe_automations(api, {name: row["id"] for name, row in rows.items() if row}),
        active_schedules=sum(_active_schedules(row) for row in rows.values() if row),
        scheduled_runs=await _count_scheduled(api, scheduling) if scheduling else 0,
        now=now,
        lost_runs=await _observe_lost(api, pool.pool, now) if pool else (),
        missed_runs=await _count_missed(api, [row["id"] for row in rows.values() if row], now),
    )


async def _observe_pool(api: Api, name: str) -> PoolState | None:
    pool = await read_pool(api, name)
    if pool is None:
        return None
    workers = (await read_workers(api, [name]))[name] or []
    active = await read_runs(api, in_states(*HOLDING_A_SLOT), [name])
    return PoolState(pool, workers=tuple(workers), active=tuple(active))


async def _observe_lost(api: Api, pool: PoolFacts, now: datetime) -> tuple[str, ...]:
    """The names of runs on the keeper's own pool that a cleanup would end on any other."""
    selection = select_pools([pool.name], [], [pool.name])
    scope = Scope(selection, (pool,), Retention(stuck_minutes=LOST_AFTER_MINUTES), Protection(), now)
    found = decide_stuck_runs(await observe_stuck_runs(api, scope), scope)
    return tuple(each.target.name for each in found.verdicts if each.verb is not Verb.LEAVE)


async def _observe_automations(api: Api, deployment_ids: dict[str, str]) -> tuple[InstalledFacts, ...]:
    there = await automations.read_automations(api)
    found = []
    for wanted in wanted_automations():
        copies = there.get(wanted.name, [])
        block_id = await own.find_block(api, wanted.block) if wanted.block else None
        if wanted.block and block_id is None:
            continue
        if not copies or not {name for name in wanted.deployments if name} <= deployment_ids.keys():
            found.append(InstalledFacts(wanted.name, ("missing",)))
            continue
        body = automations.described(wanted.resolved(deployment_ids, block_id))
        different = differences(body, automations.described(copies[0]))
        found.append(InstalledFacts(wanted.name, different, not copies[0]["enabled"], len(copies)))
    return tuple(found)


async def _count_scheduled(api: Api, deployment_ids: list[str]) -> int:
    """Future runs of these deployments, with a little patience for a scheduler that has just heard of them."""
    now = await api.server_time()
    runs = in_states("SCHEDULED") | {
        "deployment_id": {"any_": deployment_ids},
        "expected_start_time": {"after_": now.isoformat()},
    }
    return await until(lambda: count_runs(api, runs), seconds=SECONDS_FOR_THE_SCHEDULER)


async def _count_missed(api: Api, deployment_ids: list[str], now: datetime) -> int:
    """Runs of these deployments that should have started long ago. Of no deployment at all there are none."""
    runs = in_states("SCHEDULED") | {
        "deployment_id": {"any_": deployment_ids},
        "expected_start_time": {"before_": (now - MISSED_AFTER).isoformat()},
    }
    return await count_runs(api, runs)


def _active_schedules(row: Row) -> int:
    return 0 if row["paused"] else sum(schedule["active"] for schedule in row["schedules"])

"""What a preview observes: the runs that were made, and the schedules that will make more. Reads, and nothing else:
the call by which workers ask for scheduled runs would change what it looks at."""

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from sys import intern

from flows.policy.facts import POLLED_RECENTLY, DeploymentFacts, PoolFacts
from flows.policy.selection import Selection
from flows.policy.upcoming import (
    DATES_COUNTED,
    DATES_LISTED,
    Occasion,
    ScheduleFacts,
    Source,
    UpcomingFacts,
    UpcomingRun,
)
from flows.prefect_api.client import Api, decode
from flows.prefect_api.deployments import read_deployments
from flows.prefect_api.durations import read_durations
from flows.prefect_api.fleet import observe_pools
from flows.prefect_api.flow_runs import Filter, in_states, read_runs_as, was_expected
from flows.prefect_api.paging import Row
from flows.prefect_api.scheduled import Scheduled, ScheduleRow, read_scheduled
from flows.prefect_api.schedules import Dates, UnreadableSchedule, expand

# An idempotency key of Prefect's scheduler: this word, the deployment, the schedule, the date.
MADE_BY_A_SCHEDULE = "scheduled"
OCCASION_PARTS = 3


async def observe_upcoming(
    api: Api, every_pool: Sequence[PoolFacts], selection: Selection, *, now: datetime, until: datetime
) -> UpcomingFacts:
    """The selected pools and everything that is due on them until then; with `*` and nothing excluded, also what
    belongs to no pool."""
    wanted = [pool for pool in every_pool if pool.name in frozenset(selection.names)]
    if not wanted:
        return UpcomingFacts(selection, now)
    is_everything = selection.includes_no_pool and len(wanted) == len(every_pool)
    pools = None if is_everything else list(selection.names)
    (states, gone), found, read = await asyncio.gather(
        observe_pools(api, wanted, pools_on_server=len(every_pool)),
        read_scheduled(api, pools),
        _read_due(api, pools, now, until),
    )
    made = [each.run for each in read if each.run is not None and each.run.due_at <= until]
    unknown = {run.deployment_id for run in made if run.deployment_id} - found.deployments.keys()
    deployments = {**found.deployments, **await read_deployments(api, sorted(unknown))}
    served = {key for key, each in deployments.items() if _is_served(each, now)}
    schedules = await asyncio.to_thread(_expand_all, found, served, now, until)
    running = (run.deployment_id for state in states for run in state.active)
    due = {key for key in (*(run.deployment_id for run in made), *running) if key}
    due |= {each.deployment_id for each in schedules if each.dates}
    return UpcomingFacts(
        selection=selection,
        now=now,
        pools=states,
        made=tuple(run for run in made if run.deployment_id not in served),
        occasions=frozenset(each.occasion for each in read if each.occasion is not None),
        schedules=schedules,
        deployments=deployments,
        past=await read_durations(api, sorted(due - served)),
        paused_deployments=found.paused,
        paused_schedules=sum(not each.is_active for each in found.schedules),
        unreadable=found.unreadable,
        gone=gone,
    )


@dataclass(frozen=True, slots=True)
class _Due:
    """What of a run matters here: what is to come of it, and the schedule's date that it was made for."""

    id: str
    run: UpcomingRun | None
    occasion: Occasion | None


async def _read_due(api: Api, pools: Sequence[str] | None, now: datetime, until: datetime) -> list[_Due]:
    """Every run that was expected from now until then, whatever has become of it, and what waits from before."""

    async def read(runs: Filter) -> list[_Due]:
        return await read_runs_as(lambda page: decode(page, "flow run", _due), api, runs, pools)

    waiting, coming = await asyncio.gather(
        read(in_states("SCHEDULED") | was_expected(before=now)), read(was_expected(after=now, before=until))
    )
    return list({each.id: each for each in [*waiting, *coming]}.values())


def _due(row: Row) -> _Due:
    return _Due(row["id"], _made(row), _occasion(row))


def _made(row: Row) -> UpcomingRun | None:
    """The run, where it waits for somebody to start it. When it is due stands with its state: it may have been put off
    since it was first expected."""
    state = row.get("state") or {}
    due = (state.get("state_details") or {}).get("scheduled_time") or row.get("expected_start_time")
    if row["state_type"] != "SCHEDULED" or not row.get("deployment_id") or due is None:
        return None
    return UpcomingRun(
        due_at=datetime.fromisoformat(due).astimezone(UTC),
        pool=_shared(row.get("work_pool_name")),
        queue_id=_shared(row.get("work_queue_id")),
        deployment_id=_shared(row["deployment_id"]),
        source=Source.SCHEDULED,
        id=row["id"],
        name=row["name"],
        state_name=intern(row["state_name"]),
    )


def _shared(text: str | None) -> str | None:
    """What many runs have in common, once in memory: of each row it comes anew."""
    return None if text is None else intern(text)


def _occasion(row: Row) -> Occasion | None:
    """The schedule's date for which Prefect made a run, which it writes down to make none twice."""
    word, *rest = str(row.get("idempotency_key") or "").split(" ", 3)
    if word != MADE_BY_A_SCHEDULE or len(rest) != OCCASION_PARTS:
        return None
    try:
        return intern(rest[0]), intern(rest[1]), datetime.fromisoformat(rest[2]).astimezone(UTC)
    except ValueError:
        # Somebody else's key that only begins like one.
        return None


def _is_served(deployment: DeploymentFacts, now: datetime) -> bool:
    """Whether a process of its own starts the deployment's runs, without any work pool."""
    polled_at = deployment.last_polled_at
    return deployment.pool is None and polled_at is not None and now - polled_at < POLLED_RECENTLY


def _expand_all(found: Scheduled, served: Collection[str], now: datetime, until: datetime) -> tuple[ScheduleFacts, ...]:
    """The dates of every active schedule, worked out once for all schedules that are equal."""

    @cache
    def dates(described: str) -> Dates | str:
        try:
            return expand(json.loads(described), now, until, listed=DATES_LISTED, counted=DATES_COUNTED)
        except UnreadableSchedule as problem:
            return str(problem)

    def facts(schedule: ScheduleRow) -> ScheduleFacts:
        known = dates(json.dumps(schedule.described, sort_keys=True))
        if isinstance(known, str):
            return ScheduleFacts(schedule.id, schedule.deployment_id, unreadable=known)
        return ScheduleFacts(schedule.id, schedule.deployment_id, known.listed, known.beyond)

    return tuple(facts(each) for each in found.schedules if each.is_active and each.deployment_id not in served)

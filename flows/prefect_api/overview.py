"""What the keeper's own page shows: the last inventory, what is paused, the keeper's events, its next runs."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from prefect.runtime import flow_run

from flows.policy.circuit import Circuit, Phase
from flows.policy.facts import PoolFacts
from flows.policy.overview import JOBS, LOOKED_BACK, Change, NextRun, OverviewFacts
from flows.policy.plan import Kind, Verdict
from flows.prefect_api.circuits import read_memory
from flows.prefect_api.client import Api, NotFound, decode, instant
from flows.prefect_api.events import PAST
from flows.prefect_api.flow_runs import in_states
from flows.prefect_api.keeper import read_keeper
from flows.prefect_api.paging import PAGE, Row
from flows.prefect_api.work_pools import read_pool

FLEET = "pool-inventory-table"
EVENTS = "poolkeeper."
# Runs that are deleted by the thousand are counted, all other changes are listed.
LISTED = tuple(f"{EVENTS}{what}." for what in (*(kind for kind in Kind if kind is not Kind.RUN), "incident"))
COUNTED = f"{EVENTS}{Kind.RUN}."
# Prefect answers with at most so many events at once.
EVENTS_PAGE = 50
PAUSED_READ = 50


async def observe_overview(api: Api, now: datetime, done: Sequence[Verdict] = ()) -> OverviewFacts:
    """Everything there is to show. Events are written down with some delay: what this run has just `done` is told by
    itself."""
    (fleet, fleet_at), memory, (changes, more), runs, next_runs, reports = await asyncio.gather(
        _read_fleet(api),
        read_memory(api, dry_run=False),
        _read_changes(api, now),
        _count_runs(api, now),
        _read_next_runs(api),
        _read_reports(api),
    )
    own = [_own_change(each, now) for each in done if each.target.kind is not Kind.RUN]
    circuits = [kept[-1].circuit for kept in memory.circuits.values()]
    return OverviewFacts(
        now=now,
        fleet=tuple(fleet),
        fleet_at=fleet_at,
        paused=await _read_paused(api, fleet, circuits),
        circuits=tuple(circuits),
        changes=(*own, *(each for each in changes if each.run_id is None or each.run_id != flow_run.get_id())),
        more_changes=more,
        run_changes=runs,
        next_runs=next_runs,
        reports=reports,
    )


async def _read_fleet(api: Api) -> tuple[list[Row], datetime | None]:
    """The rows of the last inventory of the whole fleet, and of when they are."""
    try:
        artifact = await api.read(f"/artifacts/{FLEET}/latest")
        return json.loads(artifact["data"]), instant(artifact["updated"])
    except (NotFound, ValueError, TypeError, KeyError):
        return [], None


async def _read_paused(api: Api, fleet: Sequence[Row], circuits: Sequence[Circuit]) -> tuple[PoolFacts, ...]:
    """The work pools that were paused at the last inventory, and those that circuits have paused since, as they are."""
    names = [str(row.get("pool")) for row in fleet if row.get("paused")]
    names += [each.name for each in circuits if each.kind is Kind.POOL and each.phase is Phase.OPEN]
    found = await asyncio.gather(*(read_pool(api, name) for name in sorted(set(names))[:PAUSED_READ]))
    return tuple(pool for pool in found if pool is not None and pool.is_paused)


async def _read_changes(api: Api, now: datetime) -> tuple[tuple[Change, ...], int]:
    """What the keeper did lately, the newest first, and how much more there was."""
    query = _since(now) | {"event": {"prefix": list(LISTED)}, "order": "DESC"}
    answer = await api.read("/events/filter", {"filter": query, "limit": EVENTS_PAGE})
    found = decode(answer["events"], "event", _change)
    return tuple(found), max(0, int(answer.get("total") or 0) - len(found))


async def _count_runs(api: Api, now: datetime) -> dict[str, int]:
    """How many runs were what: `deleted`, `cancelled`, `crashed`."""
    query = _since(now) | {"event": {"prefix": [COUNTED]}}
    rows = await api.read("/events/count-by/event", {"filter": query})

    def counted(row: Row) -> tuple[str, int]:
        return str(row["value"]).removeprefix(COUNTED), int(row["count"])

    return dict(decode(rows, "count of events", counted))


async def _read_reports(api: Api) -> tuple[str, ...]:
    """The jobs that have left a report."""
    query = {"artifacts": {"key": {"any_": list(JOBS)}}, "sort": "KEY_ASC"}
    there = {row["key"] for row in await api.read("/artifacts/latest/filter", query)}
    return tuple(job for job in JOBS if job in there)


def _since(now: datetime) -> dict[str, Any]:
    return {"occurred": {"since": (now - LOOKED_BACK).isoformat()}}


def _change(event: Row) -> Change:
    resource, payload = event["resource"], event.get("payload") or {}
    what, _, did = event["event"].removeprefix(EVENTS).partition(".")
    kind, _, id_ = resource["prefect.resource.id"].removeprefix("prefect.").partition(".")
    runs = [each for each in event["related"] if each.get("prefect.resource.role") == "flow-run"]
    return Change(
        at=datetime.fromisoformat(event["occurred"]),
        kind=Kind(what) if what in set(Kind) else None,
        did=did,
        name=str(resource.get("prefect.resource.name") or kind),
        id=id_,
        reason=str(payload.get("reason") or ""),
        by=_by(payload, runs),
        run_id=runs[0]["prefect.resource.id"].rpartition(".")[2] if runs else None,
    )


def _own_change(verdict: Verdict, now: datetime) -> Change:
    target, asked_by = verdict.target, {"actor": verdict.numbers.get("actor")}
    job = [{"prefect.resource.name": flow_run.get_flow_name()}]
    did, run_id = PAST[verdict.verb], flow_run.get_id()
    return Change(now, target.kind, did, target.name, target.id, verdict.reason, _by(asked_by, job), run_id)


def _by(payload: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """The job, and who asked for it where that is known."""
    job = next((str(each["prefect.resource.name"]) for each in runs if each.get("prefect.resource.name")), "Poolkeeper")
    return f"{job}, asked by {payload['actor']}" if payload.get("actor") else job


async def _read_next_runs(api: Api) -> tuple[NextRun, ...]:
    """The next run of each of the keeper's deployments, the earliest first."""
    keeper = await read_keeper(api)
    if not keeper.protection.deployment_ids:
        return ()
    runs = in_states("SCHEDULED") | {"deployment_id": {"any_": sorted(keeper.protection.deployment_ids)}}
    body = {"flow_runs": runs, "sort": "EXPECTED_START_TIME_ASC", "limit": PAGE}
    found: dict[str, NextRun] = {}
    for row in await api.read("/flow_runs/filter", body):
        at = instant(row.get("next_scheduled_start_time") or row.get("expected_start_time"))
        if at is not None:
            found.setdefault(row["deployment_id"], NextRun(at, keeper.jobs[row["deployment_id"]], row["id"]))
    return tuple(found.values())

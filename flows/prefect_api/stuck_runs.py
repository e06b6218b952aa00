"""Runs that are stuck in a slot: found by what their workers and their heartbeats tell, and ended fifty at a time."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flows.policy.cleanup.kinds import Scope
from flows.policy.cleanup.stuck_runs import ACTIVE, ActiveRun, StuckFacts, decide_stuck_runs, is_old, to_listen_to
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verdict
from flows.policy.words import lasting
from flows.prefect_api.client import Api, ApiProblem, decode, instant
from flows.prefect_api.flow_runs import Filter, in_states, read_run_rows, run_facts
from flows.prefect_api.paging import Row
from flows.prefect_api.work_pools import read_workers

# A label that a worker puts on each run it starts.
WORKER_LABEL = "prefect.worker.name"
HEARTBEAT = "prefect.flow-run.heartbeat"
RUN_RESOURCE = "prefect.flow-run."
# Prefect answers with at most this many events.
EVENTS_PAGE = 50
# These many tell how long a run usually is silent between two of them.
HEARTBEATS_READ = 10
# Events are sought by the clock of whoever sent them, which may be fast, and not beyond now unless that is asked for.
FOREVER = "9999-01-01T00:00:00+00:00"
CHANGED = "its state has changed meanwhile"
NOT_ACCEPTED = "Prefect did not accept the change. Look at the server's log, and run again."

Became = tuple[Result, str]


async def observe_stuck_runs(api: Api, scope: Scope) -> StuckFacts:
    """The active runs in scope; of those that are in their state for long also their workers and heartbeats."""
    if not (scope.names or scope.includes_no_pool):
        return StuckFacts()
    rows = await read_run_rows(api, in_states(*ACTIVE), None if scope.includes_no_pool else scope.names)
    names = {*scope.names, *([None] if scope.includes_no_pool else [])}
    return await _observe(api, scope, [run for run in _active(rows) if run.pool in names])


@dataclass(frozen=True, slots=True)
class StuckRuns:
    """Ends what is stuck. `facts` is what was observed when that was decided."""

    api: Api
    scope: Scope
    facts: StuckFacts

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        """End those of these runs, 50 at most, that are still as they were and are found to be stuck once more."""
        scope = replace(self.scope, now=await self.api.server_time())
        rows = await _read_rows(self.api, [each.target.id for each in verdicts])
        runs = _active(rows.values())
        again = decide_stuck_runs(await _observe(self.api, scope, runs), scope)
        judged = {each.target.id: each for each in again.verdicts}
        known = {run.id: run.state_id for run in self.facts.runs}
        became: dict[str, Became] = {}
        for each in verdicts:
            id_ = each.target.id
            if spared := _spared(each, rows.get(id_), known.get(id_), judged.get(id_)):
                became[id_] = spared
        became |= await _end(self.api, [run for run in runs if run.id not in became], scope)
        return [Outcome(each, *became[each.target.id]) for each in verdicts]


def _spared(verdict: Verdict, row: Row | None, state_id: str | None, again: Verdict | None) -> Became | None:
    """What became of a run that is not to be ended any more; None for one that is."""
    if row is None:
        return Result.DONE, ALREADY_GONE
    if state_id is None:
        return Result.SKIPPED, "it was not looked at when this was decided"
    if row["state_id"] != state_id:
        return Result.SKIPPED, f"{CHANGED}: {row['state_name']}"
    if again is None or again.verb is not verdict.verb:
        return Result.SKIPPED, again.reason if again else "it no longer looks stuck"
    return None


async def _end(api: Api, runs: Sequence[ActiveRun], scope: Scope) -> dict[str, Became]:
    became: dict[str, Became] = {}
    by_state: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        by_state.setdefault((run.state_type, run.state_name), []).append(run.id)
    for (state_type, state_name), ids in by_state.items():
        now_in = {"type": {"any_": [state_type]}, "name": {"any_": [state_name]}}
        end = _end_state(state_type, scope.retention.stuck)
        try:
            ended = await _set_state(api, ids, now_in, end)
            rows = await _read_rows(api, [id_ for id_ in ids if id_ not in ended])
        except ApiProblem as problem:
            became |= dict.fromkeys(ids, (Result.FAILED, str(problem)))
            continue
        became |= {id_: (Result.DONE, "") if id_ in ended else _after(rows.get(id_), state_type, end) for id_ in ids}
    return became


async def _set_state(api: Api, ids: Sequence[str], now_in: Filter, state: dict[str, str]) -> frozenset[str]:
    """End those of these runs that are still in that state; the ids of those that were. Nothing is forced."""
    # An empty filter would mean every run there is.
    body = {"flow_runs": {"id": {"any_": list(ids)}, "state": now_in}, "state": state, "force": False}
    answer = await api.write("POST", "/flow_runs/bulk_set_state", body)
    return frozenset(result["flow_run_id"] for result in answer["results"] if result["status"] == "ACCEPT")


def _after(row: Row | None, state_type: str, end: dict[str, str]) -> Became:
    """What became of a run that Prefect does not say it has ended: it may have, and its answer was lost."""
    if row is None:
        return Result.DONE, ALREADY_GONE
    if (row["state_type"], (row.get("state") or {}).get("message")) == (end["type"], end["message"]):
        return Result.DONE, ""
    if row["state_type"] == state_type:
        return Result.FAILED, NOT_ACCEPTED
    return Result.SKIPPED, f"{CHANGED}: {row['state_name']}"


def _end_state(state_type: str, stuck: timedelta) -> dict[str, str]:
    type_ = "CANCELLED" if state_type == "CANCELLING" else "CRASHED"
    doing = "running without heartbeat" if state_type == "RUNNING" else state_type.lower()
    why = f"{doing} for more than {lasting(stuck)}, and no worker is online that would work on it"
    return {"type": type_, "name": type_.capitalize(), "message": f"{type_.capitalize()} by Poolkeeper: {why}."}


async def _observe(api: Api, scope: Scope, runs: Sequence[ActiveRun]) -> StuckFacts:
    names = frozenset(pool.name for pool in scope.pools if pool.has_workers).intersection(scope.names)
    pools = sorted({run.pool for run in runs if run.pool in names and is_old(run, scope)} - {None})
    workers = await read_workers(api, pools)
    facts = StuckFacts(tuple(runs), {pool: found for pool, found in workers.items() if found is not None})
    return replace(facts, heartbeats=await _read_heartbeats(api, to_listen_to(facts, scope), scope))


async def _read_heartbeats(api: Api, ids: Sequence[str], scope: Scope) -> dict[str, list[datetime]]:
    """When the last heartbeats of these runs arrived; of those heard lately, which are asked for together, the last."""
    since = scope.now - scope.retention.stuck
    parts = [ids[start : start + EVENTS_PAGE] for start in range(0, len(ids), EVENTS_PAGE)]
    lately = await asyncio.gather(*(_heartbeats(api, part, EVENTS_PAGE, since, only_last=True) for part in parts))
    heard = {id_: beats for part in lately for id_, beats in part.items() if max(beats) > since}
    silent = [id_ for id_ in ids if id_ not in heard]
    each = await asyncio.gather(*(_heartbeats(api, [id_], HEARTBEATS_READ) for id_ in silent))
    return heard | {id_: beats for found in each for id_, beats in found.items()}


async def _heartbeats(
    api: Api, ids: Sequence[str], most: int, since: datetime | None = None, *, only_last: bool = False
) -> dict[str, list[datetime]]:
    """When the latest heartbeats of these runs arrived, by the server's clock."""
    occurred = {"until": FOREVER} | ({"since": since.isoformat()} if since else {})
    query: dict[str, Any] = {
        "occurred": occurred,
        "event": {"name": [HEARTBEAT]},
        "resource": {"id": [RUN_RESOURCE + id_ for id_ in ids], "distinct": only_last},
        "order": "DESC",
    }
    answer = await api.read("/events/filter", {"filter": query, "limit": most})
    found: dict[str, list[datetime]] = {}
    for id_, at in decode(answer["events"], "heartbeat", _heartbeat):
        found.setdefault(id_, []).append(at)
    return found


def _heartbeat(event: Row) -> tuple[str, datetime]:
    at = instant(event.get("received")) or datetime.fromisoformat(event["occurred"])
    return event["resource"]["prefect.resource.id"].removeprefix(RUN_RESOURCE), at


async def _read_rows(api: Api, ids: Sequence[str]) -> dict[str, Row]:
    """These runs, in whatever state, by id."""
    if not ids:
        return {}
    return {row["id"]: row for row in await read_run_rows(api, {"id": {"any_": list(ids)}})}


def _active(rows: Iterable[Row]) -> list[ActiveRun]:
    return decode((row for row in rows if row["state_type"] in ACTIVE), "flow run", _active_run)


def _active_run(row: Row) -> ActiveRun:
    facts = run_facts(row)
    worker = (row.get("labels") or {}).get(WORKER_LABEL)
    return ActiveRun(
        id=facts.id,
        name=facts.name,
        pool=facts.pool,
        state_type=facts.state_type,
        state_name=facts.state_name,
        state_id=row["state_id"],
        since=facts.since,
        worker=worker if isinstance(worker, str) else None,
        starts=row.get("run_count") or 0,
        tags=frozenset(row.get("tags") or ()),
    )

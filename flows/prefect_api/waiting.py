"""Runs that were due and wait: read, cancelled or put off, fifty at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flows.policy.backlog import HELD, WAITING, WaitingRun
from flows.policy.plan import ALREADY_DONE, ALREADY_GONE, Kind, Outcome, Result, Target, Verdict
from flows.prefect_api.client import Api, decode
from flows.prefect_api.flow_runs import (
    UNFINISHED,
    Filter,
    count_runs,
    in_states,
    of_deployment,
    read_run_rows,
    was_expected,
)
from flows.prefect_api.paging import Row

# Prefect changes at most this many runs in one request.
AT_ONCE = 50


async def read_waiting(api: Api, target: Target, now: datetime) -> list[WaitingRun]:
    """The runs of a pool or deployment that were due by now and have not started."""
    runs = in_states("SCHEDULED") | was_expected(before=now)
    if target.kind is Kind.DEPLOYMENT:
        runs |= of_deployment(target.id)
    return decode(await read_run_rows(api, runs, [target.pool or target.name]), "flow run", _waiting_run)


async def cancel_waiting(api: Api, ids: Sequence[str], message: str) -> frozenset[str]:
    """Cancel those of these runs that still wait for their first start. Returns the ids of those that were."""
    return await _set_state(api, ids, {"type": "CANCELLED", "name": "Cancelled", "message": message})


async def drop(api: Api, verdicts: Sequence[Verdict], message: str) -> list[Outcome]:
    """Cancel the runs of these verdicts, for `apply`: those that still wait for their first start."""
    gone = await cancel_waiting(api, [verdict.target.id for verdict in verdicts], message)
    return await cancelled(api, verdicts, gone, message, "it waits no longer")


async def cancelled(
    api: Api, verdicts: Sequence[Verdict], gone: frozenset[str], message: str, otherwise: str
) -> list[Outcome]:
    """What became of runs of which these were cancelled with that message; `otherwise` of those that were not."""
    before = await cancelled_before(api, [each.target.id for each in verdicts if each.target.id not in gone], message)

    def outcome(verdict: Verdict) -> Outcome:
        if verdict.target.id in gone:
            return Outcome(verdict, Result.DONE)
        done = verdict.target.id in before
        return Outcome(verdict, Result.DONE, ALREADY_DONE) if done else Outcome(verdict, Result.SKIPPED, otherwise)

    return [outcome(verdict) for verdict in verdicts]


async def cancelled_unless(
    changed: Mapping[str, str], api: Api, verdicts: Sequence[Verdict], gone: frozenset[str], message: str
) -> list[Outcome]:
    """What became of runs of which these were cancelled with that message. `changed` has those that were there, with
    what kept them from being cancelled; "" where nothing did."""
    wanted = [each.target.id for each in verdicts if changed.get(each.target.id) == ""]
    before = await cancelled_before(api, [each for each in wanted if each not in gone], message)

    def outcome(verdict: Verdict) -> Outcome:
        each = verdict.target.id
        if each in gone:
            return Outcome(verdict, Result.DONE)
        if each in before:
            return Outcome(verdict, Result.DONE, ALREADY_DONE)
        if each not in changed:
            return Outcome(verdict, Result.DONE, ALREADY_GONE)
        return Outcome(verdict, Result.SKIPPED, changed[each] or "it changed meanwhile")

    return [outcome(verdict) for verdict in verdicts]


async def cancelled_before(api: Api, ids: Sequence[str], message: str) -> frozenset[str]:
    """Those of these runs that are cancelled with that message: the answer to it was lost, or another run did it."""
    rows = await read_run_rows(api, in_states("CANCELLED") | {"id": {"any_": list(ids)}}) if ids else []
    return frozenset(row["id"] for row in rows if (row.get("state") or {}).get("message") == message)


async def cancel_unfinished(api: Api, ids: Sequence[str], message: str) -> frozenset[str]:
    """Cancel those of these runs that have not ended. Returns the ids of those that were."""
    state = {"type": "CANCELLED", "name": "Cancelled", "message": message}
    return await _set_state(api, ids, state, lambda part: {"id": {"any_": list(part)}} | in_states(*UNFINISHED))


async def cancel_scheduled(api: Api, ids: Sequence[str], message: str) -> frozenset[str]:
    """Cancel those of these runs that are scheduled, under whatever name. Returns the ids of those that were."""
    state = {"type": "CANCELLED", "name": "Cancelled", "message": message}
    return await _set_state(api, ids, state, lambda part: {"id": {"any_": list(part)}} | in_states("SCHEDULED"))


async def put_off(api: Api, ids: Sequence[str], until: datetime, message: str) -> None:
    """Have those of these runs that still wait start at `until` instead."""
    state = {"type": "SCHEDULED", "name": HELD, "message": message}
    await _set_state(api, ids, {**state, "state_details": {"scheduled_time": until.isoformat()}})


async def still_waiting(api: Api, ids: Sequence[str]) -> int:
    return sum([await count_runs(api, _waiting(part)) for part in _parts(ids)])


async def _set_state(
    api: Api, ids: Sequence[str], state: dict[str, Any], which: Callable[[Sequence[str]], Filter] | None = None
) -> frozenset[str]:
    changed: set[str] = set()
    for part in _parts(ids):
        # An empty filter would mean every run there is.
        chosen = (which or _waiting)(part)
        answer = await api.write("POST", "/flow_runs/bulk_set_state", {"flow_runs": chosen, "state": state})
        changed |= {result["flow_run_id"] for result in answer["results"] if result["status"] == "ACCEPT"}
    return frozenset(changed)


def _waiting(ids: Sequence[str]) -> Filter:
    """Only those that are still as they were when it was decided: what has started or been retried is left alone."""
    state = {"type": {"any_": ["SCHEDULED"]}, "name": {"any_": sorted(WAITING)}}
    return {"id": {"any_": list(ids)}, "state": state}


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


def _waiting_run(row: Row) -> WaitingRun:
    return WaitingRun(
        id=row["id"],
        name=row["name"],
        deployment_id=row.get("deployment_id"),
        due_at=datetime.fromisoformat(row["expected_start_time"]),
        state_name=row["state_name"],
        auto_scheduled=row["auto_scheduled"],
        starts=row["run_count"],
    )

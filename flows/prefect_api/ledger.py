"""The ledger of a cleanup, kept as an artifact while it acts, and completed by the next run where it died.

Once a run has ended as it should, its table says what became of everything, and the ledger goes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
from prefect import get_run_logger
from prefect.runtime import flow_run
from pydantic import ValidationError

from flows.policy.cleanup.decision import JOB
from flows.policy.cleanup.ledger import Entry, Range, completed, entries, ranges, settled
from flows.policy.plan import Kind, Outcome, Result, Verb
from flows.policy.words import counted
from flows.prefect_api.client import Api, NotFound, instant
from flows.prefect_api.flow_runs import read_run_rows
from flows.prefect_api.paging import PAGE, Row, read_all, read_all_unordered
from flows.prefect_api.paths import pool_path
from flows.prefect_api.silence import Silence

KEY = "pool-cleanup-ledger"
TABLE = re.compile(rf"{JOB}(-.+)?-table(-\d+)?")
DESCRIPTION = "What became of which actions, in the order of the plan's table, written before they are begun."
# A run that is alive writes its ledger before every batch and while it waits; one that is silent for so long has died.
DEAD_AFTER = timedelta(seconds=30)
ASK_AGAIN = 1.0
CHANGED_TO = {Verb.CANCEL.value: "CANCELLED", Verb.CRASH.value: "CRASHED"}


@dataclass(slots=True)
class Ledger:
    """The ledger of this run."""

    api: Api
    id: str

    async def write(self, outcomes: Sequence[Outcome], begun: int) -> None:
        """These outcomes, and so many further actions about to be begun."""
        data = json.dumps([each.model_dump() for each in ranges(outcomes, begun)])
        try:
            await self.api.write("PATCH", f"/artifacts/{self.id}", {"data": data})
        except NotFound:
            # Another run took this one for dead.
            self.id = (await open_ledger(self.api)).id
            await self.api.write("PATCH", f"/artifacts/{self.id}", {"data": data})

    async def close(self) -> None:
        await _forget(self.api, self.id)


async def open_ledger(api: Api) -> Ledger:
    body: dict[str, Any] = {"key": KEY, "type": "table", "data": "[]", "description": DESCRIPTION}
    if run_id := flow_run.get_id():
        body["flow_run_id"] = str(UUID(run_id))
    return Ledger(api, str((await api.write("POST", "/artifacts/", body))["id"]))


async def complete_ledgers(api: Api) -> tuple[str, ...]:
    """Complete the tables of runs that died while they acted. What was found, in words, for each."""
    rows = await read_all(api, "/artifacts/filter", {"artifacts": {"key": {"any_": [KEY]}}, "sort": "ID_DESC"})
    found = [await _complete(api, row) for row in rows if await _is_dead(api, row)]
    return tuple(words for words in found if words)


async def _is_dead(api: Api, row: Row) -> bool:
    """Whether nobody writes this ledger any more."""
    written, silence = instant(row["updated"]), Silence(api)
    while written is not None:
        try:
            now = instant((await api.read(f"/artifacts/{row['id']}"))["updated"])
        except NotFound:
            return False
        if now != written:
            return False
        if await silence.since(written) >= DEAD_AFTER:
            return True
        await anyio.sleep(ASK_AGAIN)
    return True


async def _complete(api: Api, ledger: Row) -> str:
    """Write into the tables of the run what became of its actions; then its ledger is no longer needed."""
    kept = _ranges((await api.read(f"/artifacts/{ledger['id']}"))["data"])
    tables = await _tables(api, ledger.get("flow_run_id"))
    rows = [row for table in tables for row in json.loads(table["data"])]
    actions = [row for row in rows if row["outcome"]]
    told = list(entries(kept, len(actions)))
    begun = [row for row, entry in zip(actions, told, strict=True) if entry.is_begun]
    there = await _still_there(api, begun, datetime.fromisoformat(ledger["updated"]))
    outcomes = [settled(entry, is_there=row["id"] in there) for row, entry in zip(actions, told, strict=True)]
    whole = completed(rows, outcomes)
    for table in tables:
        part, whole = whole[: len(json.loads(table["data"]))], whole[len(json.loads(table["data"])) :]
        await api.write("PATCH", f"/artifacts/{table['id']}", {"data": json.dumps(part)})
    await _forget(api, ledger["id"])
    words = _words(outcomes)
    get_run_logger().warning(words)
    return words


def _words(outcomes: Sequence[Entry]) -> str:
    done = sum(entry.outcome == Result.DONE.value for entry in outcomes)
    failed = sum(entry.outcome == Result.FAILED.value for entry in outcomes)
    more = f", {failed} failed" if failed else ""
    return f"An earlier run died after {done} of {counted(len(outcomes), 'action')}{more}; its table is complete now."


def _ranges(data: Any) -> list[Range]:
    """What is kept; nothing, where somebody has changed it beyond recognition."""
    try:
        return [Range.model_validate(each) for each in json.loads(data)]
    except (ValidationError, ValueError, TypeError):
        return []


async def _tables(api: Api, run_id: str | None) -> list[Row]:
    """The parts of the table of what a run was to do, in their order; what else it has left is none of them."""
    if run_id is None:
        return []
    query = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["table"]}}, "sort": "KEY_ASC"}
    rows = [row for row in await api.read("/artifacts/filter", query) if TABLE.fullmatch(row["key"])]
    return sorted(rows, key=lambda row: (len(row["key"]), row["key"]))


async def _still_there(api: Api, rows: Sequence[Mapping[str, Any]], begun_at: datetime) -> set[str]:
    """Which of the targets of these actions are still as they were before them."""
    ids = [row["id"] for row in rows if row["kind"] == Kind.RUN.value]
    runs = {run["id"]: run for run in await _runs(api, ids)}
    there = set()
    for row in rows:
        if row["kind"] == Kind.RUN.value:
            run = runs.get(row["id"])
            is_there = run is not None and run["state_type"] != CHANGED_TO.get(row["verb"])
        else:
            found = await _find(api, row)
            # What is changed is changed in one write, and nothing else is known of what it was before.
            is_there = found is not None and (row["verb"] == Verb.DELETE.value or _updated(found) < begun_at)
        if is_there:
            there.add(row["id"])
    return there


async def _runs(api: Api, ids: Sequence[str]) -> list[Row]:
    parts = [list(ids[start : start + PAGE]) for start in range(0, len(ids), PAGE)]
    return [row for part in parts for row in await read_run_rows(api, {"id": {"any_": part}})]


async def _find(api: Api, row: Mapping[str, Any]) -> Row | None:
    """A worker, queue, pool or deployment by its id."""
    if row["kind"] == Kind.WORKER.value:
        pool = row["target"].partition("/")[0]
        rows = await _filter(api, f"{pool_path(pool)}/workers/filter", {})
    elif row["kind"] == Kind.POOL.value:
        rows = await _filter(api, "/work_pools/filter", {"work_pools": {"id": {"any_": [row["id"]]}}})
    else:
        where = "work_queues" if row["kind"] == Kind.QUEUE.value else "deployments"
        rows = await _filter(api, f"/{where}/filter", {where: {"id": {"any_": [row["id"]]}}})
    return next((each for each in rows if each["id"] == row["id"]), None)


async def _filter(api: Api, path: str, body: dict[str, Any]) -> list[Row]:
    try:
        return await read_all_unordered(api, path, body, what="what a cleanup changes")
    except NotFound:
        return []


def _updated(row: Row) -> datetime:
    return instant(row["updated"]) or datetime.max.replace(tzinfo=UTC)


async def _forget(api: Api, artifact_id: str) -> None:
    try:
        await api.write("DELETE", f"/artifacts/{artifact_id}")
    except NotFound:
        return

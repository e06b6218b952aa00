"""The keeper's own things on a server: its work pool, its deployments, and the runs it starts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from flows.policy.facts import RunFacts
from flows.prefect_api.archive import queues_of
from flows.prefect_api.client import Api, NotFound, decode
from flows.prefect_api.flow_runs import run_facts
from flows.prefect_api.paging import Row
from flows.prefect_api.paths import pool_path, segment

POLL_SECONDS = 0.5
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
WAITING = frozenset({"SCHEDULED", "PENDING"})


class NotStarted(Exception):
    """Nobody has begun to run a run."""


async def create_pool(api: Api, name: str, spec: dict[str, Any]) -> None:
    await api.write("POST", "/work_pools/", {"name": name, **spec})


async def create_queues(api: Api, pool: str, queues: Sequence[dict[str, Any]]) -> list[str]:
    """Make those work queues that are missing, each before those of its priority and later. The names of the new."""
    there = {row["name"] for row in await queues_of(api, pool)}
    missing = [queue for queue in queues if queue["name"] not in there]
    for queue in missing:
        await api.write("POST", f"{pool_path(pool)}/queues", queue)
    return [queue["name"] for queue in missing]


async def find_deployment(api: Api, name: str) -> Row | None:
    """The deployment named `flow/deployment`, as Prefect describes it."""
    flow, _, deployment = name.partition("/")
    try:
        row: Row = await api.read(f"/deployments/name/{segment(flow)}/{segment(deployment)}")
    except NotFound:
        return None
    return row


async def find_block(api: Api, name: str) -> str | None:
    """The id of the block named `type/name`, or None."""
    kind, _, block = name.partition("/")
    try:
        row = await api.read(f"/block_types/slug/{segment(kind)}/block_documents/name/{segment(block)}")
    except NotFound:
        return None
    return str(row["id"])


def described(deployment: Row) -> dict[str, Any]:
    """What of a deployment is written in prefect.yaml, in the one form in which two can be compared."""
    limit = deployment.get("global_concurrency_limit") or {}
    return {
        "entrypoint": deployment["entrypoint"],
        "work_pool": deployment.get("work_pool_name"),
        "work_queue": deployment.get("work_queue_name"),
        "tags": sorted(deployment["tags"]),
        "description": deployment.get("description") or "",
        "parameters": deployment["parameters"],
        "job_variables": deployment.get("job_variables") or {},
        "pull_steps": deployment.get("pull_steps") or [],
        "parameter_schema": deployment.get("parameter_openapi_schema") or {},
        "concurrency_limit": limit.get("limit"),
        "schedules": [
            {**schedule["schedule"], "slug": schedule.get("slug"), "parameters": schedule.get("parameters") or {}}
            for schedule in sorted(deployment["schedules"], key=lambda schedule: str(schedule.get("slug")))
        ],
    }


async def forbid_unknown_parameters(api: Api, deployment: Row) -> None:
    """Have a run with a parameter that the flow does not know refused before it exists.

    Prefect's own deploy leaves this open, and such a run would fail only in its process.
    """
    schema = deployment.get("parameter_openapi_schema") or {}
    if schema.get("additionalProperties") is not False:
        body = {"parameter_openapi_schema": {**schema, "additionalProperties": False}}
        await api.write("PATCH", f"/deployments/{deployment['id']}", body)


def switched_off(deployment: Row | None) -> tuple[bool, frozenset[str]]:
    """Whether a person paused the deployment, and the slugs of the schedules they switched off."""
    if deployment is None:
        return False, frozenset()
    off = (schedule.get("slug") for schedule in deployment["schedules"] if not schedule["active"])
    return deployment["paused"], frozenset(slug for slug in off if slug)


async def switch_off(api: Api, deployment: Row, paused: bool, slugs: frozenset[str]) -> None:
    """Put back what a person had switched off, after the deployment was written anew."""
    if paused and not deployment["paused"]:
        await api.write("PATCH", f"/deployments/{deployment['id']}", {"paused": True})
    for schedule in deployment["schedules"]:
        if schedule.get("slug") in slugs and schedule["active"]:
            path = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
            await api.write("PATCH", path, {"active": False})


async def start_run(
    api: Api, deployment_id: str, *, scheduled_at: str | None = None, parameters: dict[str, Any] | None = None
) -> str:
    """Start a run of a deployment now, or as if it had been due at an instant (ISO 8601). The run's id."""
    state: dict[str, Any] = {"type": "SCHEDULED", "state_details": {}}
    if scheduled_at is not None:
        state["state_details"]["scheduled_time"] = scheduled_at
    run = await api.write(
        "POST", f"/deployments/{deployment_id}/create_flow_run", {"state": state, "parameters": parameters or {}}
    )
    return str(run["id"])


async def follow_run(
    api: Api, run_id: str, changed: Callable[[RunFacts], None], *, seconds_to_start: float
) -> tuple[RunFacts, str]:
    """Wait until a run has ended, telling each new state. The run, and the message of its last state.

    `NotStarted` where nobody has begun to run it in time.
    """
    last = ""
    waited = anyio.current_time() + seconds_to_start
    while True:
        row = await api.read(f"/flow_runs/{run_id}")
        (run,) = decode([row], "flow run", run_facts)
        if run.state_name != last:
            changed(run)
            last = run.state_name
        if run.state_type in ENDED:
            return run, str((row.get("state") or {}).get("message") or "")
        if run.state_type in WAITING and anyio.current_time() > waited:
            raise NotStarted(f"The run {run.name!r} is still {run.state_name} after {seconds_to_start:g} s.")
        await anyio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class LeftReport:
    """The report that a run has left: the id of its page, and the rows of its table in all its parts."""

    page_id: str
    rows: list[dict[str, Any]]


async def read_report(api: Api, run_id: str, key: str) -> LeftReport:
    """What a run has left under a report's key; `NotFound` where it left nothing."""
    query = {"artifacts": {"flow_run_id": {"any_": [run_id]}}, "sort": "KEY_ASC"}
    left = await api.read("/artifacts/filter", query)
    pages = [artifact["id"] for artifact in left if artifact["key"] == key]
    if not pages:
        raise NotFound(f"The run left no report {key!r}.")
    tables = [artifact["data"] for artifact in left if artifact["key"].startswith(f"{key}-table")]
    return LeftReport(pages[0], [row for table in tables for row in json.loads(table)])

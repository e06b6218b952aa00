"""pool-lifecycle as a person runs it, and the runs that it books."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async
from prefect.flows import load_flow_from_entrypoint

from flows.policy.lifecycle.request import Request
from flows.prefect_api import Api
from flows.prefect_api.by_hand import Hands
from flows.prefect_api.lifecycle import observe_lifecycle, open_question
from tests.rest import Rest, Row
from tests.server.places import Place

ROOT = Path(__file__).resolve().parents[2]
WHY = "database upgrade"
FLOW = "pool-lifecycle"


@cache
def lifecycle() -> Any:
    """The flow as a run loads it."""
    return load_flow_from_entrypoint(str(ROOT / "flows/lifecycle.py:lifecycle"), use_placeholder_flow=False)


async def ask(action: str, pool: str, **parameters: Any) -> Any:
    """The state that a run of the flow ends in."""
    usual = {"action": action, "pool": pool, "reason": WHY, "actor": "Ann"}
    return await lifecycle()(**{**usual, **parameters}, return_state=True)


@contextmanager
def deployed(rest: Rest) -> Iterator[Row]:
    """The flow's own deployment, for as long as the block lasts."""
    flow = rest.ask("/flows/", name=FLOW)
    body = {"name": "management", "flow_id": flow["id"], "entrypoint": "flows/lifecycle.py:lifecycle"}
    row = rest.ask("/deployments/", **body, tags=["poolkeeper"])
    try:
        yield row
    finally:
        rest.delete(f"/deployments/{row['id']}").raise_for_status()


def booked(rest: Rest, pool: str) -> list[Row]:
    """The runs that are booked for a pool, the earliest first."""
    rows = rest.ask("/flow_runs/filter", flow_runs={"tags": {"all_": ["poolkeeper-booked"]}}, limit=200)
    mine = [row for row in rows if row["parameters"].get("pool") == pool]
    return sorted(mine, key=lambda row: str(row["expected_start_time"]))


async def run_booked(row: Row) -> Any:
    """The state that a booked run ends in, run as a worker would run it once it is due."""
    async with get_client() as client:
        run = await client.read_flow_run(UUID(row["id"]))
    return await run_flow_async(lifecycle(), flow_run=run, parameters=run.parameters, return_type="state")


async def steps(api: Api, request: Request, *, at_most: int | None = None) -> list[Any]:
    """The plan of a request carried out without the flow around it, so that a test may break in; the outcomes."""
    asked = await open_question(api, request)
    seen = await observe_lifecycle(api, asked)
    plan = asked.decide(seen).plan
    hands = Hands(api, asked.hand, {each.pool.name: each for each in seen}, asked.deployment_id)
    return [outcome for verdict in plan.actions[:at_most] for outcome in await hands.act([verdict])]


def note_of(place: Place) -> str:
    return str(place.rest.read(place.path)["description"] or "")


def fields(place: Place, *names: str) -> tuple[Any, ...]:
    row = place.rest.read(place.path)
    return tuple(row[name] for name in names)


def page(place: Place) -> str:
    return place.rest.page(f"{FLOW}-{place.name}").replace("\\", "")


def rows(place: Place, **wanted: Any) -> list[Row]:
    """The rows of the last table about this pool alone that have these values."""
    found = place.rest.table(f"{FLOW}-{place.name}-table")
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def events(rest: Rest, name: str, pool: str) -> list[Row]:
    query = {"event": {"name": [name]}, "related": {"id": [f"prefect.work-pool.{pool}"]}}
    return list(rest.ask("/events/filter", filter=query)["events"])


async def meanwhile(running: Any, act: Any) -> Any:
    """What a run ends in during which something happens."""
    task = asyncio.ensure_future(running)
    await asyncio.to_thread(act)
    return await task

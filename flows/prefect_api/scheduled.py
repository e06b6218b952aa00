"""Deployments with their schedules."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.policy.facts import DeploymentFacts
from flows.prefect_api.client import Api, decode
from flows.prefect_api.deployments import FIELDS, count_deployments, facts_of, read_rows
from flows.prefect_api.paging import Row, read_all

IS_ACTIVE = {"paused": {"eq_": False}}
IS_PAUSED = {"paused": {"eq_": True}}


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule of a deployment, as Prefect describes it."""

    id: str
    deployment_id: str
    described: Mapping[str, Any]
    is_active: bool


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The deployments that are not paused, by id, and their schedules. `paused` counts the others.

    `unreadable` names the flows of deployments that the server has but cannot read.
    """

    deployments: Mapping[str, DeploymentFacts]
    schedules: tuple[ScheduleRow, ...]
    paused: int
    unreadable: tuple[str, ...] = ()


async def read_scheduled(api: Api, pools: Sequence[str] | None) -> Scheduled:
    """The deployments of these pools (None: all there are) with their schedules."""
    of_pools: dict[str, Any] = {} if pools is None else {"work_pools": {"name": {"any_": list(pools)}}}
    active = {"deployments": IS_ACTIVE, **of_pools}
    rows, paused, total = await asyncio.gather(
        read_rows(api, active, FIELDS),
        count_deployments(api, {"deployments": IS_PAUSED, **of_pools}),
        count_deployments(api, active),
    )
    return Scheduled(
        deployments=await facts_of(api, rows),
        schedules=tuple(decode((each for row in rows for each in row["schedules"]), "schedule", _schedule)),
        paused=paused,
        unreadable=await _unread(api, rows, of_pools) if len(rows) < total else (),
    )


async def _unread(api: Api, rows: Sequence[Row], of_pools: dict[str, Any]) -> tuple[str, ...]:
    """The flows of the deployments that are not among those read; there may be more than one of a flow."""
    others = {"deployments": {**IS_ACTIVE, "id": {"not_any_": [row["id"] for row in rows]}}, **of_pools}
    return tuple(row["name"] for row in await read_all(api, "/flows/filter", {**others, "sort": "NAME_ASC"}))


def _schedule(row: Row) -> ScheduleRow:
    return ScheduleRow(row["id"], row["deployment_id"], row["schedule"], row["active"])

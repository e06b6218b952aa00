"""Runs that a run books for later, with Prefect's scheduler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect import get_run_logger

from flows.policy.suspicion import Look
from flows.prefect_api.client import Api, ApiProblem

# On a booked run, so that it is known not to come from a person.
BOOKED = "poolkeeper-booked"


@dataclass(frozen=True, slots=True)
class Booking:
    """The deployment that looks again (None: there is none), and the parameters that each look shares."""

    deployment_id: str | None
    parameters: Mapping[str, Any]


async def book(api: Api, booking: Booking, *, pool: str, look: Look) -> None:
    """Have a run look at the pool at that time; once, however often it is asked for.

    Where that cannot be, the sweep looks instead.
    """
    if booking.deployment_id is None:
        return
    parameters = {**booking.parameters, "pools": [pool], "exclude": []}
    try:
        await book_run(api, booking.deployment_id, parameters, at=look.at, key=look.key)
    except ApiProblem as problem:
        get_run_logger().warning("No look at %s is booked for %s: %s", pool, look.at.isoformat(), problem)


async def book_run(
    api: Api,
    deployment_id: str,
    parameters: Mapping[str, Any],
    *,
    at: datetime,
    key: str,
    name: str = "",
    tags: Sequence[str] = (),
) -> None:
    """Have the deployment run at that time with these parameters; once for each key, however often it is asked for."""
    body: dict[str, Any] = {
        "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": at.isoformat()}},
        "parameters": dict(parameters),
        "idempotency_key": f"poolkeeper {key}",
        "tags": ["poolkeeper", BOOKED, *tags],
    }
    body |= {"name": name} if name else {}
    await api.write("POST", f"/deployments/{deployment_id}/create_flow_run", body)

"""Cancelling a thousand scheduled runs that are late by days."""

# ruff: noqa: PLC0415

from typing import TYPE_CHECKING
from uuid import UUID

from tests.benchmarks.clearing import clearing_job
from tests.benchmarks.fleet import Fresh

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


async def _cancel(client: "PrefectClient", run: UUID) -> None:
    from prefect.states import Cancelled

    await client.set_flow_run_state(run, Cancelled())


JOB = clearing_job(
    "cancel",
    Fresh.LATE,
    {"kinds": ["late-runs"]},
    _cancel,
    "/flow_runs/bulk_set_state",
    {"state": {"type": "CANCELLED", "name": "Cancelled"}},
)

"""Deleting a thousand runs that ended long ago."""

from typing import TYPE_CHECKING
from uuid import UUID

from tests.benchmarks.clearing import clearing_job
from tests.benchmarks.fleet import FRESH_ENDED_AGO, HISTORY, Fresh

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

# Only the fresh ones ended before.
FINISHED_DAYS = (FRESH_ENDED_AGO + HISTORY).days / 2


async def _delete(client: "PrefectClient", run: UUID) -> None:
    await client.delete_flow_run(run)


JOB = clearing_job(
    "cleanup",
    Fresh.ENDED,
    {"kinds": ["finished-runs"], "retention": {"finished_days": FINISHED_DAYS}},
    _delete,
    "/flow_runs/bulk_delete",
    {},
)

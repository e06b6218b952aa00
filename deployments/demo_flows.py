"""The flows of the demo fleet: one that works, one that fails at first."""

from prefect import flow
from prefect.runtime import deployment

from flows.prefect_api import connect
from flows.prefect_api.flow_runs import count_runs, in_states


@flow(name="demo-steady")
def steady(rows: int = 1000) -> int:
    """Pretends to load some rows.

    Args:
        rows: How many rows to pretend.
    """
    return rows


@flow(name="demo-flaky")
async def flaky(failures: int = 10) -> int:
    """Fails until it has failed often enough, so that there is a pool that fails and recovers.

    Args:
        failures: How many runs of the deployment fail before the first one works.
    """
    async with connect() as api:
        failed = await count_runs(api, in_states("FAILED") | {"deployment_id": {"any_": [deployment.get_id()]}})
    if failed < failures:
        raise ConnectionError("the demo's database does not answer, and is not meant to yet")
    return failed

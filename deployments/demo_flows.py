"""The flows of the demo fleet: one that works, one that fails at first."""

from prefect import flow
from prefect.runtime import deployment

from flows.policy.lease import read_note
from flows.prefect_api import connect
from flows.prefect_api.flow_runs import count_runs, in_states, of_deployment
from flows.prefect_api.work_pools import read_pool


@flow(name="demo-steady")
def steady(rows: int = 1000) -> int:
    """Pretends to load some rows.

    Args:
        rows: How many rows to pretend.
    """
    return rows


@flow(name="demo-flaky")
async def flaky(failures: int = 10) -> int:
    """Fails until its work pool has been paused for that, so that there is one that fails and recovers.

    Args:
        failures: How many runs of the deployment fail at least before the first one works.
    """
    runs = of_deployment(str(deployment.get_id()))
    async with connect() as api:
        failed, worked = [await count_runs(api, in_states(state) | runs) for state in ("FAILED", "COMPLETED")]
        # Each deployment of the demo has the name of its work pool.
        pool = await read_pool(api, str(deployment.get_name()))
    was_paused = pool is not None and read_note(pool.description) is not None
    if not worked and (failed < failures or not was_paused):
        raise ConnectionError("the demo's database does not answer, and is not meant to yet")
    return failed

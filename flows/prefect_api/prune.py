"""Deleting a work pool that a spec created and that is no longer in it: only where nothing depends on it, and archived
first."""

from flows.policy.dependents import still_needed
from flows.policy.lifecycle.request import AS_USUAL
from flows.policy.lifecycle.step import pool_target
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verdict
from flows.prefect_api.archive import archive_pool, forget_archive
from flows.prefect_api.client import Api
from flows.prefect_api.dependents import observe_dependents
from flows.prefect_api.paths import pool_path
from flows.prefect_api.unused import CHANGED
from flows.prefect_api.work_pools import read_pool


async def read_use(api: Api, name: str) -> str:
    """What depends on a work pool, in words; "" where nothing does. Guarded as a delete by hand is."""
    pool = await read_pool(api, name)
    if pool is None:
        return ""
    return still_needed(
        pool_target(pool), await observe_dependents(api, pool), AS_USUAL, archived=(), now=await api.server_time()
    )


async def prune_pool(api: Api, verdict: Verdict) -> Outcome:
    """Archive and delete the work pool of a verdict, if it is the same one and still nothing depends on it."""
    target = verdict.target
    if (change := await _changed(api, verdict)) is not None:
        return change
    kept = await archive_pool(api, target.name, reason=verdict.reason, now=await api.server_time())
    if (change := await _changed(api, verdict)) is not None:
        await forget_archive(api, kept)
        return change
    await api.write("DELETE", pool_path(target.name))
    return Outcome(verdict, Result.DONE, f"archived as {kept}")


async def _changed(api: Api, verdict: Verdict) -> Outcome | None:
    """What becomes of it where it is not to be deleted any more."""
    pool = await read_pool(api, verdict.target.name)
    if pool is None or pool.id != verdict.target.id:
        return Outcome(verdict, Result.DONE, ALREADY_GONE)
    use = await read_use(api, pool.name)
    return Outcome(verdict, Result.SKIPPED, CHANGED.format(use)) if use else None

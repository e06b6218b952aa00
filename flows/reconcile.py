"""pool-reconcile: work pools as code."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.apply import conclude
from flows.policy.plan import ActionLimit
from flows.policy.reconcile.decision import JOB
from flows.prefect_api import connect
from flows.prefect_api.reconcile import observe_reconcile
from flows.reconciling import bring_in_line, leave_export, reconcile_name
from flows.spec_file import read_spec

observe = task(name="observe", cache_policy=NO_CACHE, persist_result=False)(observe_reconcile)


@flow(name=JOB, flow_run_name=reconcile_name)
async def reconcile(
    spec: str = "deployments/pools.yaml",
    prune: bool = False,
    export: bool = False,
    limit: ActionLimit = ActionLimit(),  # noqa: B008 - frozen
    dry_run: bool = True,
) -> State:
    """Work pools as code: what a spec says beside what is there.

    Args:
        spec: The file that says which work pools there are to be. Its path is relative to the checkout.
        prune: Also delete the work pools that this spec once created and that are no longer in it, where nothing
            depends on them.
        export: Only leave what is there as a spec to copy, in the artifact `pool-reconcile-export`.
        limit: The most that one run may change. What it creates counts by number alone.
        dry_run: On: only report what differs. Off: bring it in line with the spec.
    """
    return await conclude(_reconcile(spec, limit, prune=prune, export=export, dry_run=dry_run))


async def _reconcile(spec: str, limit: ActionLimit, *, prune: bool, export: bool, dry_run: bool) -> State:
    if export:
        async with connect() as api:
            return await leave_export(api)
    written = read_spec(spec)
    async with connect() as api:
        facts = await observe(api, written.spec, written.path, prune=prune)
        return await bring_in_line(api, written, facts, limit, dry_run=dry_run)

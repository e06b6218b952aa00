"""pool-auto-pause: stop what keeps failing; bring it back safely."""

from functools import partial

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.apply import Acting, apply, conclude, run_name
from flows.policy.auto_pause import JOB, decide_circuits
from flows.policy.failure_threshold import FailureThreshold
from flows.policy.plan import ActionLimit
from flows.policy.recovery import Recovery
from flows.prefect_api import connect
from flows.prefect_api.auto_pause import Settings, observe_circuits, open_question
from flows.prefect_api.turning import Turning
from flows.prefect_api.upkeep import keep_records
from flows.report.auto_pause import AutoPause, auto_pause_report
from flows.report.page import report_key

observe = task(name="observe", cache_policy=NO_CACHE, persist_result=False)(observe_circuits)


@flow(name=JOB, flow_run_name=run_name)
async def auto_pause(
    pools: list[str] = ["*"],  # noqa: B006 - the form shows a signature's default; nobody changes it
    exclude: list[str] = [],  # noqa: B006 - as above
    threshold: FailureThreshold = FailureThreshold(),  # noqa: B008 - frozen
    recovery: Recovery = Recovery(),  # noqa: B008 - frozen
    limit: ActionLimit = ActionLimit(),  # noqa: B008 - frozen
    dry_run: bool = True,
) -> State:
    """Stop what keeps failing; bring it back safely.

    Args:
        pools: Names of work pools or patterns such as `etl-*`.
        exclude: Names or patterns of work pools to leave out.
        threshold: When a deployment or a work pool counts as failing.
        recovery: How long it stays paused, and how it comes back.
        limit: The most that may be paused at once. More than that failing is one common outage: nothing is paused.
        dry_run: On: only report what would be done, and keep its circuits as shadows. Off: pause and resume.
    """
    return await conclude(_auto_pause(pools, exclude, Settings(threshold, recovery, limit, dry_run)))


async def _auto_pause(pools: list[str], exclude: list[str], settings: Settings) -> State:
    async with connect() as api:
        asked = await open_question(api, pools, exclude, settings)
        facts = await observe(api, asked)
        decision = decide_circuits(facts, asked.rules, settings.limit)
        turning = Turning(api, decision, asked.memory, asked.rules, asked.booking)
        key = report_key(JOB, asked.selection.narrowed_to)
        job = AutoPause(facts, decision, asked.rules, settings.dry_run, asked.memory.unreadable, key)
        acting = Acting(turning.act, decision.check, asked.protection, settings.dry_run, decision.is_limited)
        end = await apply(api, decision.plan, partial(auto_pause_report, job), key=key, acting=acting)
        await keep_records(turning, asked, facts, dry_run=settings.dry_run)
        return end

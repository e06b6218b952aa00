"""pool-cleanup: clear away what is left behind."""

from typing import Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.apply import conclude, run_name
from flows.clearing import clear_away
from flows.policy.cleanup.caps import Caps, CleanupLimit
from flows.policy.cleanup.decision import JOB
from flows.policy.cleanup.kinds import KINDS, CleanupKind
from flows.policy.cleanup.pace import Pace
from flows.policy.cleanup.retention import Retention
from flows.prefect_api import connect
from flows.prefect_api.cleanup import Settings, observe_cleanup, open_question

observe = task(name="observe", cache_policy=NO_CACHE, persist_result=False)(observe_cleanup)


@flow(name=JOB, flow_run_name=run_name)
async def cleanup(
    pools: list[str] = ["*"],  # noqa: B006 - the form shows a signature's default; nobody changes it
    exclude: list[str] = [],  # noqa: B006 - as above
    kinds: list[CleanupKind] = list(KINDS),  # noqa: B006 - as above
    retention: Retention = Retention(),  # noqa: B008 - frozen
    caps: Caps = Caps(),  # noqa: B008 - frozen
    limit: CleanupLimit = CleanupLimit(),  # noqa: B008 - frozen
    pace: Pace = Pace(),  # noqa: B008 - frozen
    approval: Literal["none", "ask"] = "none",
    dry_run: bool = True,
) -> State:
    """Clear away what is left behind.

    Args:
        pools: Names of work pools or patterns such as `etl-*`. What belongs to no work pool is looked at only with `*`.
        exclude: Names or patterns of work pools to leave out.
        kinds: What to look for; the deployment's description says what happens to each. An empty list is nothing.
        retention: What is kept, and for how long.
        caps: How much of each kind goes at most in one run. The rest is left for the next one.
        limit: The most that may change in all. A plan that goes over it is refused as a whole.
        pace: How fast it goes, for how long, and how long a plan may wait for its approval.
        approval: ask: wait until a person has approved the plan in the UI. none: carry it out at once.
        dry_run: On: only report what would be done. Off: do it.
    """
    return await conclude(_cleanup(pools, exclude, Settings(kinds, retention, caps, limit, pace, approval, dry_run)))


async def _cleanup(pools: list[str], exclude: list[str], settings: Settings) -> State:
    async with connect() as api:
        asked = await open_question(api, pools, exclude, settings)
        return await clear_away(api, asked, await observe(api, asked))

"""pool-lifecycle: a person's hand on work pools."""

from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.apply import conclude
from flows.handling import handle, run_story
from flows.policy.lifecycle.request import JOB, Action, DeleteOptions, LifecycleLimit, Request
from flows.policy.recovery import Backlog
from flows.prefect_api import connect
from flows.prefect_api.lifecycle import observe_lifecycle, open_question

observe = task(name="observe", cache_policy=NO_CACHE, persist_result=False)(observe_lifecycle)


@flow(name=JOB, flow_run_name=run_story)
async def lifecycle(
    action: Action,
    pool: str,
    reason: Annotated[str, Field(min_length=1, max_length=300)],
    actor: Annotated[str, Field(max_length=100)] = "",
    expires_minutes: Annotated[float, Field(gt=0, le=10080)] | None = None,
    backlog: Backlog = "keep",
    concurrency_limit: Annotated[int, Field(ge=0)] | None = None,
    wait_minutes: Annotated[float, Field(ge=0, le=1440)] = 60,
    delete: DeleteOptions = DeleteOptions(),  # noqa: B008 - frozen
    limit: LifecycleLimit = LifecycleLimit(),  # noqa: B008 - frozen
    dry_run: bool = False,
) -> State:
    """Pause, resume, drain, limit, delete or restore a work pool by hand.

    Args:
        action: What to do. drain: pause, wait for what runs. delete: refused while in use, and archived for restore.
        pool: The work pool's name; or a pattern such as `etl-*`, with a limit that allows so many.
        reason: Why, in up to 300 characters. It stands on the work pool for others to read: no secrets.
        actor: Who asks for it. Empty: as far as Prefect knows who started this run.
        expires_minutes: pause: after so many minutes it is resumed (up to 10080, a week). Empty: it has no end.
        backlog: resume, now or by itself: what becomes of the runs due meanwhile. keep: all start. latest: only the
            newest of each deployment. drop: none. Runs that a person made always start.
        concurrency_limit: set-concurrency-limit: how many runs may go at once, as a number. 0: none starts.
        wait_minutes: drain: how many minutes to wait at most (up to 1440, a day). Then it fails; the pause stays.
        delete: delete: what becomes of that which depends on the work pool. Without an answer it is not deleted.
        limit: The most work pools that may be changed at once; if it is more, none is. A pattern needs more than 1.
        dry_run: On: only report what would be done. Off: do it.
    """
    request = Request(
        action, pool, reason, actor, expires_minutes, backlog, concurrency_limit, wait_minutes, delete, limit, dry_run
    )
    return await conclude(_lifecycle(request))


async def _lifecycle(request: Request) -> State:
    async with connect() as api:
        asked = await open_question(api, request)
        return await handle(api, asked, await observe(api, asked))

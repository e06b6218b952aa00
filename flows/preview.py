"""pool-preview: what will run, when, and what will not? Changes nothing."""

from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.apply import apply, conclude, run_name
from flows.policy.foreseen import Question
from flows.policy.preview import decide_preview, foresee
from flows.policy.selection import select_pools
from flows.prefect_api import connect
from flows.prefect_api.upcoming import observe_upcoming
from flows.prefect_api.work_pools import read_pools
from flows.report.page import report_key
from flows.report.preview import preview_report

JOB = "pool-preview"

observe = task(name="observe", cache_policy=NO_CACHE, persist_result=False)(observe_upcoming)


@flow(name=JOB, flow_run_name=run_name)
async def preview(
    pools: list[str] = ["*"],  # noqa: B006 - the form shows a signature's default; nobody changes it
    exclude: list[str] = [],  # noqa: B006 - as above
    hours: Annotated[int, Field(ge=1, le=744)] = 24,
    timezone: str = "UTC",
    what_if_limit: Annotated[int, Field(ge=1)] | None = None,
    acceptable_wait_minutes: Annotated[int, Field(ge=0, le=1440)] = 5,
    calendar: bool = False,
) -> State:
    """What will run, when, and what will not? Changes nothing.

    Args:
        pools: Names of work pools or patterns such as `etl-*`.
        exclude: Names or patterns of work pools to leave out.
        hours: How many hours ahead to look (1 to 744, which is 31 days).
        timezone: In whose time the report tells times, for example `Europe/Berlin`. The table is always in UTC.
        what_if_limit: Show what would happen if each of these work pools had this concurrency limit. Empty: as it is.
        acceptable_wait_minutes: Recommend the smallest limits at which no run waits longer for a slot (0 to 1440).
        calendar: Also leave the preview as a calendar (iCalendar), to load into a calendar program.
    """
    question = Question(hours, timezone, acceptable_wait_minutes, what_if_limit)
    return await conclude(_preview(pools, exclude, question, calendar=calendar))


async def _preview(pools: list[str], exclude: list[str], question: Question, *, calendar: bool) -> State:
    question.check()
    async with connect() as api:
        now = await api.server_time()
        every_pool = await read_pools(api)
        selection = select_pools(pools, exclude, [pool.name for pool in every_pool])
        facts = await observe(api, every_pool, selection, now=now, until=question.until(now))
        foreseen = foresee(facts, question)
        report = preview_report(foreseen, key := report_key(JOB, selection.narrowed_to), with_calendar=calendar)
        return await apply(api, decide_preview(foreseen), lambda _: report, key=key)

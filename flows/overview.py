"""The keeper's own page, brought up to date whenever something was looked at or changed."""

from collections.abc import Sequence

from prefect import get_run_logger

from flows.policy.plan import Verdict
from flows.prefect_api import Api, ApiProblem
from flows.prefect_api.overview import observe_overview
from flows.prefect_api.records import publish_page
from flows.report.overview import KEY, overview_page, overview_verdict


async def bring_overview_up_to_date(api: Api, done: Sequence[Verdict]) -> None:
    """Leave the page under its key. Where that cannot be, the run has done its work all the same.

    `done` is what it has just done.
    """
    try:
        facts = await observe_overview(api, await api.server_time(), done)
        await publish_page(api, KEY, description=overview_verdict(facts), markdown=overview_page(facts))
    except ApiProblem as problem:
        get_run_logger().warning("The page %r could not be brought up to date: %s", KEY, problem)

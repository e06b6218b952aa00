"""Show the plan, refuse if it is unsafe, act, show the outcomes, fail if any failed."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.policy.bad_input import BadInput
from flows.policy.plan import ActionLimit, Kind, Outcome, Plan, Result, UnsafePlan, Verdict
from flows.policy.protection import ProtectedTarget, Protection
from flows.prefect_api import Api, ApiProblem, NotFound
from flows.prefect_api.events import emit_change
from flows.prefect_api.records import publish
from flows.report import Report
from flows.report.markdown import text

LONGEST_RUN_NAME = 80

# Carries out one verdict: reads the target again, changes it, and says what became of it.
Act = Callable[[Verdict], Awaitable[Outcome]]
# The report of a plan with these outcomes; before anything was done there are none.
Render = Callable[[Sequence[Outcome]], Report]


@dataclass(frozen=True, slots=True)
class Acting:
    """What a job that changes things brings along; read-only jobs have none.

    `population` is how many pools, deployments, queues and workers there are, for the limit's share.
    """

    act: Act
    limit: ActionLimit
    population: Mapping[Kind, int]
    protection: Protection
    dry_run: bool


def run_name() -> str:
    """The name of a flow run in a list: which pools it is about."""
    pools = [str(pool) for pool in flow_run.parameters.get("pools") or []]
    if pools == ["*"]:
        return "all work pools"
    return shorten(", ".join(pools), LONGEST_RUN_NAME, placeholder="…") or "no work pool"


async def conclude(job: Awaitable[State]) -> State:
    """The job's own end; where the input or the API stopped it, a failure that says so in one message."""
    try:
        return await job
    except (BadInput, ApiProblem) as problem:
        get_run_logger().error(str(problem))
        return Failed(message=str(problem))


async def apply(api: Api, plan: Plan, render: Render, *, key: str, acting: Acting | None = None) -> State:
    """Publish the plan and, where a job acts, carry it out. The state's message is the report's verdict."""
    shown = render(_all(plan, Result.PLANNED))
    published = await _publish(api, key, shown)
    get_run_logger().info(shown.verdict)
    if acting is None or acting.dry_run or not plan.actions:
        return Completed(message=shown.verdict)
    try:
        acting.protection.check(plan)
        acting.limit.check(plan, acting.population)
    except (UnsafePlan, ProtectedTarget) as refusal:
        await _publish(api, key, render(_all(plan, Result.REFUSED)), published)
        return Failed(message=str(refusal))
    outcomes = [await _carry_out(verdict, acting.act) for verdict in plan.actions]
    done = render(outcomes)
    await _publish(api, key, done, published)
    failed = Counter(outcome.result for outcome in outcomes)[Result.FAILED]
    return Failed(message=done.verdict) if failed else Completed(message=done.verdict)


async def _carry_out(verdict: Verdict, act: Act) -> Outcome:
    """One failure is an outcome; the rest goes on. What is already gone is done."""
    try:
        outcome = await act(verdict)
    except NotFound:
        return Outcome(verdict, Result.DONE, "already gone")
    except ApiProblem as problem:
        get_run_logger().warning("%s %s: %s", verdict.verb, verdict.target.name, problem)
        return Outcome(verdict, Result.FAILED, str(problem))
    except Exception as problem:  # noqa: BLE001 - whatever happens to one target, the others get their turn
        # Only its kind: the text of an unforeseen error may hold anything.
        get_run_logger().error("%s %s: %s", verdict.verb, verdict.target.name, type(problem).__name__)
        return Outcome(verdict, Result.FAILED, type(problem).__name__)
    if outcome.result is Result.DONE:
        emit_change(verdict)
    return outcome


async def _publish(api: Api, key: str, report: Report, earlier: Sequence[str] = ()) -> list[str]:
    return await publish(
        api,
        key,
        description=text(report.verdict),
        markdown=report.markdown,
        rows=report.rows,
        calendar=report.calendar,
        earlier=earlier,
    )


def _all(plan: Plan, result: Result) -> list[Outcome]:
    return [Outcome(verdict, result) for verdict in plan.actions]

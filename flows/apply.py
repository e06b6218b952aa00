"""Show the plan, refuse if it is unsafe, act, show the outcomes, fail if any failed."""

from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import shorten

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.overview import bring_overview_up_to_date
from flows.policy.approval import Approval
from flows.policy.bad_input import BadInput
from flows.policy.plan import ALREADY_GONE, Kind, Outcome, Plan, Result, UnsafePlan, Verdict
from flows.policy.protection import ProtectedTarget, Protection
from flows.policy.words import one_line
from flows.prefect_api import Api, ApiProblem, NotFound
from flows.prefect_api.events import Tell, telling
from flows.prefect_api.records import publish
from flows.prefect_api.waiting import AT_ONCE
from flows.report import Report
from flows.report.markdown import plain, sections, text
from flows.report.overview import LINK

LONGEST_RUN_NAME = 80
ALL = Approval(is_granted=True, words="")
# The name of the state of a run whose plan a person has refused.
REFUSED = "Refused"

# Carries out verdicts of one kind and verb, one unless they are of runs: reads each target again, changes it, and says
# in turn what became of each.
Act = Callable[[Sequence[Verdict]], Awaitable[Sequence[Outcome]]]
# The report of a plan with these outcomes; before anything was done there are none.
Render = Callable[[Sequence[Outcome]], Report]
# Asks a person, who has the published plan before their eyes. Raises `UnsafePlan` where the answer comes too late.
Ask = Callable[[Plan], Awaitable[Approval]]
# Called before each batch with what was done so far and what comes next. Words say why nothing more is to be begun.
Proceed = Callable[[Sequence[Outcome], Sequence[Verdict]], Awaitable[str]]
# Called once the report has every outcome.
Finish = Callable[[], Awaitable[None]]


async def goes_on(_done: Sequence[Outcome], _next: Sequence[Verdict]) -> str:
    return ""


async def nothing_more() -> None:
    return


def same_pool(verdict: Verdict) -> Hashable:
    return verdict.target.pool


@dataclass(frozen=True, slots=True)
class Acting:
    """What a job that changes things brings along; read-only jobs have none.

    `check` raises `UnsafePlan` where the plan goes over its limit. Then every action is refused that `is_limited`.
    Runs that are `alike` in this go together.
    """

    act: Act
    check: Callable[[], None]
    protection: Protection
    dry_run: bool
    is_limited: Callable[[Verdict], bool] = lambda _: True
    alike: Callable[[Verdict], Hashable] = same_pool
    ask: Ask | None = None
    proceed: Proceed = goes_on
    finish: Finish = nothing_more


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
        get_run_logger().error(one_line(problem))
        return Failed(message=str(problem))


async def apply(api: Api, plan: Plan, render: Render, *, key: str, acting: Acting | None = None) -> State:
    """Publish the plan and, where a job acts, carry it out. The state's message is the report's verdict."""
    # Around all that is written: what changed is told last.
    with telling() as tell:
        end, outcomes = await _apply(api, plan, render, key, acting, tell)
        done = [outcome.verdict for outcome in outcomes if outcome.result is Result.DONE]
        # A sweep that did nothing has nothing to tell.
        if acting is None or done:
            await bring_overview_up_to_date(api, done)
        if acting is not None:
            await acting.finish()
    return end


async def _apply(
    api: Api, plan: Plan, render: Render, key: str, acting: Acting | None, tell: Tell
) -> tuple[State, Sequence[Outcome]]:
    shown = render(_all(plan, Result.PLANNED))
    published = await _publish(api, key, shown)
    get_run_logger().info(shown.verdict)
    if acting is None or not plan.actions:
        return Completed(message=shown.verdict), ()
    refusal = _refusal(plan, acting)
    if acting.dry_run:
        return Completed(message=f"{shown.verdict} It would be refused: {refusal}" if refusal else shown.verdict), ()
    approval = ALL if refusal or acting.ask is None else await _asked(plan, acting.ask)
    if isinstance(approval, UnsafePlan):
        refusal, approval = approval, ALL
    outcomes = await _carry_out(plan, acting, refusal, approval, tell)
    done = render(outcomes)
    await _publish(api, key, done, published)
    return _end(outcomes, done.verdict, refusal, approval), outcomes


def _end(outcomes: Sequence[Outcome], verdict: str, refusal: Exception | None, approval: Approval) -> State:
    if refusal:
        return Failed(message=str(refusal))
    if not approval.is_granted:
        return Completed(name=REFUSED, message=approval.words)
    failed = any(outcome.result is Result.FAILED for outcome in outcomes)
    return Failed(message=verdict) if failed else Completed(message=verdict)


async def _asked(plan: Plan, ask: Ask) -> Approval | UnsafePlan:
    try:
        approval = await ask(plan)
    except UnsafePlan as late:
        return late
    get_run_logger().info(one_line(approval.words))
    return approval


def _refusal(plan: Plan, acting: Acting) -> UnsafePlan | ProtectedTarget | None:
    try:
        acting.protection.check(plan)
        acting.check()
    except (UnsafePlan, ProtectedTarget) as refusal:
        return refusal
    return None


async def _carry_out(
    plan: Plan, acting: Acting, refusal: Exception | None, approval: Approval, tell: Tell
) -> list[Outcome]:
    """Every action in its turn. The progress is in the log, a line for each batch of runs."""
    outcomes: list[Outcome] = []
    everything = isinstance(refusal, ProtectedTarget)
    stop = ""
    for batch in _batches(plan, acting.alike, approval.most):
        if refusal and (everything or acting.is_limited(batch[0])):
            outcomes += [Outcome(verdict, Result.REFUSED) for verdict in batch]
            continue
        if not approval.is_granted:
            outcomes += [Outcome(verdict, Result.REFUSED, approval.words) for verdict in batch]
            continue
        if approval.most is not None and len(outcomes) >= approval.most:
            stop = f"at most {approval.most} were approved"
        stop = stop or await acting.proceed(outcomes, batch)
        if stop:
            outcomes += [Outcome(verdict, Result.SKIPPED, f"left: {stop}", is_left=True) for verdict in batch]
            continue
        became = await _attempt(batch, acting.act)
        outcomes += became
        tell(became)
        get_run_logger().info("%s of %s actions: %s %s", len(outcomes), len(plan.actions), *_told(batch))
    return outcomes


async def _attempt(batch: Sequence[Verdict], act: Act) -> Sequence[Outcome]:
    """One failure is an outcome; the rest goes on. What is already gone is done."""
    try:
        outcomes = await act(batch)
    except NotFound:
        return [Outcome(verdict, Result.DONE, ALREADY_GONE) for verdict in batch]
    except ApiProblem as problem:
        get_run_logger().warning("%s %s: %s", *_told(batch), problem)
        return [Outcome(verdict, Result.FAILED, str(problem)) for verdict in batch]
    except Exception as problem:  # noqa: BLE001 - whatever happens to one target, the others get their turn
        # Only its kind: the text of an unforeseen error may hold anything.
        get_run_logger().error("%s %s: %s", *_told(batch), type(problem).__name__)
        return [Outcome(verdict, Result.FAILED, type(problem).__name__) for verdict in batch]
    return outcomes


def _batches(plan: Plan, alike: Callable[[Verdict], Hashable], most: int | None) -> Iterator[Sequence[Verdict]]:
    """Runs that share what happens to them go together, as many as Prefect takes at once; all others one by one.

    None of them goes across the first `most` actions.
    """
    approved = len(plan.actions) if most is None else most
    for part in (plan.actions[:approved], plan.actions[approved:]):
        for (kind, *_), same in groupby(part, key=lambda each: (each.target.kind, each.verb, alike(each))):
            verdicts = list(same)
            size = AT_ONCE if kind is Kind.RUN else 1
            yield from (verdicts[start : start + size] for start in range(0, len(verdicts), size))


def _told(batch: Sequence[Verdict]) -> tuple[str, str]:
    """What a line of the log calls it, whatever is in its name."""
    first = batch[0]
    return first.verb, plain(first.target.name) if len(batch) == 1 else f"{len(batch)} {first.target.kind}s"


async def _publish(api: Api, key: str, report: Report, earlier: Sequence[str] = ()) -> list[str]:
    return await publish(
        api,
        key,
        description=text(report.verdict),
        markdown=sections(report.markdown, LINK),
        rows=report.rows,
        calendar=report.calendar,
        earlier=earlier,
    )


def _all(plan: Plan, result: Result) -> list[Outcome]:
    return [Outcome(verdict, result) for verdict in plan.actions]

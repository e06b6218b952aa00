"""A plan put before a person in Prefect's UI, and the answer."""

from typing import Literal

from prefect import get_run_logger
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field, create_model

from flows.policy.approval import Approval, check_age, digest
from flows.policy.cleanup.decision import Decision
from flows.policy.cleanup.pace import Pace
from flows.policy.plan import Plan, UnsafePlan
from flows.policy.words import counted, lasting, one_line
from flows.prefect_api.client import Api

ASK_AGAIN_SECONDS = 2
LONGEST_WORDS = 300


class Answer(RunInput):
    """What a person says to a plan."""

    decision: Literal["approve", "refuse"] = Field(
        title="Decision", description="approve: exactly this plan is carried out. refuse: nothing is changed."
    )
    why: str = Field(
        min_length=3,
        max_length=LONGEST_WORDS,
        title="Why, and who",
        description="Your name and reason, for the report.",
    )


def _form(actions: int, page: str) -> type[Answer]:
    """The form for a plan of so many actions. Its `at_most` comes with the plan."""
    at_most = Field(
        default=actions,
        ge=1,
        le=actions,
        title="At most",
        description=f"Carry out only this many of the {actions} actions, the first ones of the plan's table.",
    )
    form = create_model("Answer", __base__=Answer, at_most=(int, at_most))
    form._description = page
    return form


async def ask_person(api: Api, plan: Plan, decision: Decision, pace: Pace, page: str) -> Approval:
    """Wait in the UI until a person has answered. `UnsafePlan` where the plan is too old by then.

    The process waits as well, so that exactly the plan that was shown is carried out; its slot is free meanwhile.
    """
    actions, shown = len(plan.actions), digest(plan)
    get_run_logger().warning(
        "Waiting up to %s for approval of plan %s (%s): open this run in the UI and choose Resume (in the newer UI it "
        "is in the menu ⋮).",
        lasting(pace.longest_wait),
        shown,
        counted(actions, "action"),
    )
    try:
        answer = await pause_flow_run(  # type: ignore[misc]
            wait_for_input=_form(actions, page),
            timeout=round(pace.longest_wait.total_seconds()),
            poll_interval=ASK_AGAIN_SECONDS,
            key=f"approval-{shown}",
        )
    except FlowPauseTimeout:
        raise UnsafePlan(
            f"Nobody has answered to plan {shown} within {lasting(pace.longest_wait)} (pace.plan_hours). Nothing was "
            "done. Run again for a new plan."
        ) from None
    check_age(decision.now, await api.server_time(), pace.longest_wait, shown)
    why = one_line(answer.why)
    if answer.decision == "refuse":
        return Approval(is_granted=False, words=f"Plan {shown} was refused: {why}")
    most: int = answer.at_most
    part = "" if most == actions else f" for the first {most} of {counted(actions, 'action')}"
    return Approval(is_granted=True, words=f"Plan {shown} was approved{part}: {why}", most=most)

"""Carrying out what a person asks for: decided, shown, refused or done, and told."""

from collections.abc import Sequence

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.apply import Acting, apply
from flows.policy.lifecycle.decision import SeenPool
from flows.policy.lifecycle.request import JOB, story
from flows.policy.plan import Outcome
from flows.prefect_api import Api
from flows.prefect_api.by_hand import Hands
from flows.prefect_api.lifecycle import Question
from flows.report.lifecycle import Lifecycle, lifecycle_report
from flows.report.page import Report, report_key


def run_story() -> str:
    """The name of a flow run in a list: what is done to which work pool, and why."""
    asked = flow_run.parameters
    return story(asked["action"], asked["pool"], asked["reason"])


async def handle(api: Api, asked: Question, seen: Sequence[SeenPool]) -> State:
    """Decide, and carry out what was decided."""
    decision = asked.decide(seen)
    hands = Hands(api, asked.hand, {each.pool.name: each for each in seen}, asked.deployment_id)
    key = report_key(JOB, asked.selection.narrowed_to)

    def render(outcomes: Sequence[Outcome]) -> Report:
        job = Lifecycle(asked.hand, asked.selection, decision, key, hands.draining.still)
        return lifecycle_report(job, outcomes)

    acting = Acting(hands.act, decision.check, asked.protection, asked.hand.request.dry_run)
    return await apply(api, decision.plan, render, key=key, acting=acting)

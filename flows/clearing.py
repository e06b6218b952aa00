"""Carrying out a cleanup: the plan shown, approved where that is asked for, and done at its pace."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect.client.schemas.objects import State

from flows.apply import Acting, apply
from flows.policy.approval import Approval
from flows.policy.cleanup.decision import JOB, rule_of
from flows.policy.cleanup.kinds import CleanupKind
from flows.policy.plan import Outcome, Plan
from flows.prefect_api import Api
from flows.prefect_api.approvals import ask_person
from flows.prefect_api.cleanup import Question, clearings, decide
from flows.prefect_api.pacing import Pacing
from flows.report.cleanup import Cleanup, cleanup_report, plan_page
from flows.report.page import Report, report_key


async def clear_away(api: Api, asked: Question, facts: Mapping[CleanupKind, Any]) -> State:
    """Decide, and carry out what was decided. The ledger stays open until the table has everything."""
    settings = asked.settings
    decision = decide(asked, facts)
    clearing = clearings(api, asked, facts)
    key = report_key(JOB, asked.scope.selection.narrowed_to)
    job = Cleanup(asked.scope, decision, settings.pace, settings.dry_run, key, asked.died)
    pacing = Pacing(api, settings.pace, decision.plan.actions)
    answers: list[str] = []

    async def ask(plan: Plan) -> Approval:
        approval = await ask_person(api, plan, decision, settings.pace, plan_page(job))
        answers.append(approval.words)
        return approval

    def render(outcomes: Sequence[Outcome]) -> Report:
        return cleanup_report(replace(job, task_runs=clearing.task_runs, answer="".join(answers)), outcomes)

    acting = Acting(
        clearing.act,
        decision.check,
        asked.scope.protection,
        settings.dry_run,
        alike=rule_of,
        ask=ask if settings.approval == "ask" else None,
        proceed=pacing.proceed,
        finish=pacing.close,
    )
    return await apply(api, decision.plan, render, key=key, acting=acting)

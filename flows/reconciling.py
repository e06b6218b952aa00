"""Bringing work pools in line with a spec, and writing down what is there as one."""

from collections.abc import Sequence
from dataclasses import replace

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.apply import Acting, apply
from flows.policy.plan import ActionLimit, Outcome
from flows.policy.reconcile.decision import JOB, decide_reconcile
from flows.policy.reconcile.export import Export, export_pools
from flows.policy.reconcile.facts import ReconcileFacts
from flows.policy.reconcile.problems import check_spec
from flows.prefect_api import Api
from flows.prefect_api.keeper import read_keeper
from flows.prefect_api.reconcile import keep_memory, read_pools_there, tell_drift
from flows.prefect_api.reconciling import Reconciling
from flows.prefect_api.records import publish
from flows.prefect_api.worker_types import read_defaults
from flows.report.export import LONGEST, export_header, export_report
from flows.report.page import Report
from flows.report.reconcile import Reconcile, reconcile_report
from flows.spec_file import SpecFile, written_spec

EXPORT_KEY = f"{JOB}-export"


def reconcile_name() -> str:
    """The name of a flow run in a list: what it does with which spec."""
    parameters = flow_run.parameters
    if parameters.get("export"):
        return "export"
    how = "plan" if parameters.get("dry_run", True) else "apply"
    return f"{how} {parameters.get('spec', '')}" + (" and prune" if parameters.get("prune") else "")


async def bring_in_line(
    api: Api, written: SpecFile, facts: ReconcileFacts, limit: ActionLimit, *, dry_run: bool
) -> State:
    """Decide, and carry out what was decided; then remember what is left of the drift, and tell what of it is new."""
    written.check(check_spec(facts))
    decision = decide_reconcile(facts)
    reconciling = Reconciling(api, facts, decision)
    job = Reconcile(written.path, len(facts.spec.pools), decision, dry_run, JOB)

    def render(outcomes: Sequence[Outcome]) -> Report:
        return reconcile_report(job, outcomes)

    acting = Acting(reconciling.act, lambda: decision.check(limit), facts.protection, dry_run)
    end = await apply(api, decision.plan, render, key=JOB, acting=acting)
    if not decision.emptiness:
        await keep_memory(api, facts, dry_run=dry_run)
        await tell_drift(api, facts, decision.drift(frozenset(reconciling.settled)))
    return end


async def leave_export(api: Api) -> State:
    """Leave what is there as a spec in an artifact."""
    export = await read_export(api)
    shown, text = _that_fits(export)
    report = export_report(export, text, len(shown.pools))
    await publish(api, EXPORT_KEY, description=report.verdict, markdown=report.markdown, rows=report.rows)
    return Completed(message=report.verdict)


async def read_export(api: Api) -> Export:
    protection = (await read_keeper(api)).protection
    return export_pools(await read_pools_there(api), await read_defaults(api), protection)


def export_text(export: Export) -> str:
    return written_spec(export.document, export_header(export))


def _that_fits(export: Export) -> tuple[Export, str]:
    """As many work pools as fit on a page, and their text."""
    while len(text := export_text(export)) > LONGEST and export.pools:
        export = replace(export, pools=export.pools[: len(export.pools) // 2])
    return export, text

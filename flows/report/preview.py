"""The preview as a page, a table and a calendar."""

from collections.abc import Mapping

from flows.policy.forecast import Expectation, Standing
from flows.policy.foreseen import Preview
from flows.policy.words import counted, lasting
from flows.report.calendar import calendar_page
from flows.report.foreseen import preview_page
from flows.report.markdown import plain, sections, text
from flows.report.page import VERDICT, Report, Row, RowsOf


def preview_report(preview: Preview, key: str, *, with_calendar: bool = False) -> Report:
    """The report of a preview; `key` is where it will be found."""
    if preview.facts.selection.emptiness:
        reason = preview.facts.selection.emptiness
        return Report(reason, sections(f"**{text(reason)}**", "Nothing was read beyond the names."))
    expectations = preview.expectations
    verdict = preview_verdict(preview, expectations)
    queues = {queue.id: queue.name for pool in preview.pools for queue in pool.state.queues}
    return Report(
        verdict,
        preview_page(preview, verdict, expectations, f"{key}-table"),
        RowsOf(expectations, lambda each: _row(each, preview, queues)),
        calendar=calendar_page(preview, expectations) if with_calendar else "",
    )


def preview_verdict(preview: Preview, expectations: list[Expectation]) -> str:
    """One line: how many runs are due, and what becomes of them."""
    counts = {standing: sum(each.standing is standing for each in expectations) for standing in Standing}
    words = {
        Standing.WILL_START: "will start when due",
        Standing.WILL_WAIT: "will wait",
        Standing.LATE: "late",
        Standing.BLOCKED: "blocked",
    }
    found = [f"{counts[standing]} {words[standing]}" for standing in Standing if counts[standing]]
    longest = max((pool.longest_wait for pool in preview.pools), default=None)
    if counts[Standing.WILL_WAIT] and longest:
        found[found.index(f"{counts[Standing.WILL_WAIT]} will wait")] += f" (up to {lasting(longest)})"
    only_counted = preview.unlisted + preview.beyond
    if only_counted:
        found.append(f"{only_counted} only counted")
    runs = counted(len(expectations) + only_counted, "run")
    what_if = preview.question.what_if_limit
    asked = "" if what_if is None else f"; as if every work pool had a concurrency limit of {what_if}"
    ahead = counted(preview.question.hours, "hour")
    pools = counted(len(preview.pools), "work pool")
    return plain(f"{runs} in the next {ahead} on {pools}: {', '.join(found) or 'nothing is due'}{asked}", VERDICT)


def _row(each: Expectation, preview: Preview, queues: Mapping[str, str]) -> Row:
    run = each.run
    deployment = preview.facts.deployments.get(run.deployment_id or "")
    return {
        "start": run.due_at.isoformat(timespec="seconds"),
        "pool": run.pool or "",
        "queue": queues.get(run.queue_id or "", ""),
        "deployment": deployment.name if deployment else "",
        "run": run.name,
        "run_id": run.id,
        "source": run.source.value,
        "verdict": each.standing.value,
        "reason": each.reason,
        "expected_start": each.expected_start_at.isoformat(timespec="seconds") if each.expected_start_at else None,
    }

"""What a person had done to work pools, as a page and a table: who, why, what became of it, and how to go back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.policy.facts import RunFacts
from flows.policy.lifecycle.decision import Decision
from flows.policy.lifecycle.request import Hand
from flows.policy.plan import Kind, Outcome, Result, Target, Verb, Verdict
from flows.policy.selection import Selection
from flows.policy.words import counted, some_of
from flows.report.markdown import (
    artifact_link,
    capped,
    deployment_link,
    moment,
    plain,
    pool_link,
    run_link,
    sections,
    table,
    text,
)
from flows.report.page import VERDICT, Report
from flows.report.plan import balance, plan_rows

SHOWN = 50
DONE = {
    Verb.PAUSE: "paused",
    Verb.RESUME: "resumed",
    Verb.DRAIN: "drained",
    Verb.DELETE: "deleted",
    Verb.RESTORE: "restored",
}
# Of these actions pausing is only the beginning.
LONGER = ("drain", "delete")
LOST = (
    "the work pool's id: what refers to it by its id has to be changed;",
    "which work pool past runs belonged to: they stay, without it;",
    "the rows of its workers, and its events' place in its history;",
    "runs that are cancelled with it.",
)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """All that a report of pool-lifecycle is made of. `still` are runs that a drain has waited for in vain, by pool."""

    hand: Hand
    selection: Selection
    decision: Decision
    key: str
    still: Mapping[str, Sequence[RunFacts]]


def lifecycle_report(job: Lifecycle, outcomes: Sequence[Outcome]) -> Report:
    """The report with these outcomes: planned ones before, real ones after."""
    if reason := job.selection.emptiness:
        return Report(plain(reason), sections(f"**{text(reason)}**", "Nothing was looked at, nothing was changed."))
    verdict = plain(_verdict(job, outcomes), longest=VERDICT)
    page = sections(
        f"**{text(verdict, longest=VERDICT)}**",
        f"`{job.hand.request.action}`, asked for by {text(job.hand.by)} at {moment(job.hand.now)} UTC: "
        f"{text(job.hand.request.reason)}",
        _obstacles(job),
        _lost(job),
        _acted(outcomes),
        _runs(outcomes),
        _still(job),
        _left(job),
        _footnote(job, outcomes),
    )
    return Report(verdict, page, plan_rows(job.decision.plan, outcomes))


def _verdict(job: Lifecycle, outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        left = [f"{verdict.target.name}: {verdict.reason}" for verdict in job.decision.plan.verdicts]
        return f"Nothing to do: {some_of(left)}" if left else "Nothing to do"
    refusal, dry = job.decision.refusal, "Dry run: " if job.hand.request.dry_run else ""
    if refusal and not dry:
        return f"Refused: {refusal}"
    pools = [outcome for outcome in outcomes if outcome.verdict.target.kind is Kind.POOL]
    last = [each for each in pools if job.hand.request.action not in LONGER or each.verdict.verb is not Verb.PAUSE]
    rest = [outcome for outcome in outcomes if outcome.verdict.target.kind is not Kind.POOL]
    parts = list(_sentences(last or pools)) + ([f"with it {balance(rest)}"] if rest else [])
    return f"{dry}{'; '.join(parts)} ({job.hand.why})"


def _sentences(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """`paused etl, ops`; each pool with which it did not go well with its own words."""
    alike: dict[tuple[Result, Verb], list[str]] = {}
    for outcome in outcomes:
        verdict = outcome.verdict
        name = verdict.target.name
        if outcome.result is Result.FAILED:
            yield f"{name} could not be {DONE.get(verdict.verb, 'changed')}: {outcome.detail}"
        elif outcome.result is Result.SKIPPED:
            yield f"{name} was left alone: {outcome.detail}"
        elif outcome.result is Result.DONE and verdict.verb is Verb.RESTORE:
            yield f"restored {name}, {outcome.detail}"
        elif verdict.verb is Verb.CHANGE:
            yield f"{name}: {verdict.reason.partition(';')[0]}"
        else:
            alike.setdefault((outcome.result, verdict.verb), []).append(name)
    for (result, verb), names in alike.items():
        yield f"{verb if result is Result.PLANNED else DONE[verb]} {some_of(names)}"


def _obstacles(job: Lifecycle) -> str:
    refusal = job.decision.refusal if job.hand.request.dry_run else ""
    parts = [f"> It would be refused: {text(refusal, longest=VERDICT)}"] if refusal else []
    for name, obstacles in job.decision.obstacles.items():
        rows = [[each.target.kind.value, _link(each.target), text(each.reason)] for each in obstacles[:SHOWN]]
        if rows:
            page = f"## What depends on {text(name)}\n\n" + table(["", "What", "Why"], rows)
            parts.append(capped(page, len(obstacles), SHOWN))
    return sections(*parts) if parts else ""


def _lost(job: Lifecycle) -> str:
    if job.hand.request.action != "delete" or not job.decision.plan.actions:
        return ""
    back = (
        "`restore` makes it again from its archive, with its queues, their priorities and limits, its base job "
        "template, and attaches the deployments that have no other work pool. What cannot come back:"
    )
    return sections("## What can come back, and what cannot", back, "\n".join(f"- {each}" for each in LOST))


def _acted(outcomes: Sequence[Outcome]) -> str:
    shown = [outcome for outcome in outcomes if outcome.verdict.target.kind is not Kind.RUN]
    if not shown:
        return ""
    rows = [
        [
            _link(outcome.verdict.target),
            outcome.verdict.verb.value,
            text(outcome.verdict.reason + (f" ({outcome.detail})" if outcome.detail else ""), longest=VERDICT),
            outcome.result.value,
        ]
        for outcome in shown[:SHOWN]
    ]
    page = "## What happens\n\n" + table(["What", "Action", "Why", "Outcome"], rows)
    return capped(page, len(shown), SHOWN)


def _runs(outcomes: Sequence[Outcome]) -> str:
    runs = [outcome for outcome in outcomes if outcome.verdict.target.kind is Kind.RUN]
    if not runs:
        return ""
    rows = [[_link(each.verdict.target), text(each.verdict.reason), each.result.value] for each in runs[:SHOWN]]
    heading = f"## Runs that are cancelled\n\n{text(balance(runs))}.\n\n"
    return capped(heading + table(["Run", "Why", "Outcome"], rows), len(runs), SHOWN)


def _still(job: Lifecycle) -> str:
    parts = []
    for name, runs in job.still.items():
        rows = [[run_link(run.name, run.id), text(run.state_name), moment(run.since)] for run in runs[:SHOWN]]
        page = f"## Still running on {text(name)}\n\n" + table(["Run", "State", "Since (UTC)"], rows)
        parts.append(capped(page, len(runs), SHOWN))
    return sections(*parts) if parts else ""


def _left(job: Lifecycle) -> str:
    alone = [each for each in job.decision.plan.verdicts if each.verb is Verb.LEAVE and each not in _standing(job)]
    lines = [f"- {_link(each.target)}: {text(each.reason)}" for each in alone[:SHOWN]]
    lines += [f"- {counted(count, 'run')}: {text(words)}" for words, count in job.decision.plan.left.items()]
    return capped("## Left alone, and why\n\n" + "\n".join(lines), len(alone), SHOWN) if lines else ""


def _standing(job: Lifecycle) -> list[Verdict]:
    return [verdict for obstacles in job.decision.obstacles.values() for verdict in obstacles]


def _footnote(job: Lifecycle, outcomes: Sequence[Outcome]) -> str:
    every_row = artifact_link("table", f"{job.key}-table")
    balanced = f"{balance(outcomes).capitalize()}. " if outcomes else ""
    dry = " Nothing was changed: this was a dry run." if job.hand.request.dry_run else ""
    return f"{balanced}The {every_row} has every row.{dry}"


def _link(target: Target) -> str:
    if target.kind is Kind.POOL:
        return pool_link(target.name)
    if target.kind is Kind.DEPLOYMENT:
        return deployment_link(target.name, target.id)
    if target.kind is Kind.RUN:
        return run_link(target.name, target.id)
    return text(target.name)

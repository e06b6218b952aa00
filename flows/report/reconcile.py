"""pool-reconcile as a page and a table: what differs from the spec, old and new side by side, and what became of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flows.policy.plan import Kind, Outcome, Result, Target, Verb, Verdict
from flows.policy.reconcile.decision import Decision
from flows.policy.reconcile.differences import AS_WRITTEN, UNMANAGED, Step
from flows.policy.words import counted, some_of
from flows.report.markdown import artifact_link, capped, plain, pool_link, sections, table, text
from flows.report.page import VERDICT, Report, Row
from flows.report.plan import balance, plan_rows

SHOWN = 30
NAMES = {Kind.POOL: "work pool", Kind.QUEUE: "work queue"}


@dataclass(frozen=True, slots=True)
class Reconcile:
    """All that a report is made of: the spec's path, and how many work pools it names."""

    path: str
    pools: int
    decision: Decision
    dry_run: bool
    key: str


def reconcile_report(job: Reconcile, outcomes: Sequence[Outcome]) -> Report:
    """The report with these outcomes: planned ones before, real ones after."""
    if job.decision.emptiness:
        words = plain(job.decision.emptiness, longest=VERDICT)
        return Report(words, sections(f"**{text(words, longest=VERDICT)}**"))
    verdict = plain(_verdict(job, outcomes), longest=VERDICT)
    page = sections(
        f"**{text(verdict, longest=VERDICT)}**",
        _what_next(job, outcomes),
        _differences(job, outcomes),
        _not_well(outcomes),
        _left(job),
        _behind(job, outcomes),
        _footnote(job),
    )
    return Report(verdict, page, _rows(job, outcomes))


def _verdict(job: Reconcile, outcomes: Sequence[Outcome]) -> str:
    results = Counter(outcome.result for outcome in outcomes)
    drift = job.decision.drift()
    if outcomes and set(results) != {Result.PLANNED}:
        done = [outcome.verdict for outcome in outcomes if outcome.result is Result.DONE]
        return _sentence(balance(outcomes)) + (f" ({_planned(done)})" if done else "")
    start = "Dry run: " if job.dry_run else ""
    if drift:
        words = f"{len(drift)} of {counted(job.pools, 'work pool')} in {job.path} drifted: {some_of(sorted(drift))}"
    else:
        words = f"no drift: {counted(job.pools, 'work pool')} as in {job.path}"
    planned = f"; {_planned([outcome.verdict for outcome in outcomes])}" if outcomes else ""
    return _sentence(start + words + planned)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _planned(actions: Sequence[Verdict]) -> str:
    """`create 1 work pool, change 2 work queues`."""
    counts = Counter((action.verb, action.target.kind) for action in actions)
    return ", ".join(f"{verb} {counted(count, NAMES[kind])}" for (verb, kind), count in counts.items())


def _what_next(job: Reconcile, outcomes: Sequence[Outcome]) -> str:
    results = {outcome.result for outcome in outcomes}
    if results == {Result.PLANNED} and job.dry_run:
        return (
            "Nothing was changed: this was a dry run. To have it brought in line, run the deployment with `dry_run` "
            "off; where what is there is right, correct the spec (`export` leaves what is there in its format)."
        )
    if results & {Result.FAILED, Result.SKIPPED}:
        return "Not everything was done: see below why. Run it again; it takes up what is left."
    if Result.REFUSED in results:
        return "Nothing was changed: the plan goes over its `limit`. Read it; if it is right, raise the limit."
    return ""


def _differences(job: Reconcile, outcomes: Sequence[Outcome]) -> str:
    """A row for each field that differs, also of what is left as it is."""
    became = {outcome.verdict.target: outcome.result.value for outcome in outcomes}
    rows = [
        [_link(step.target), step.verb.value, *cells, became.get(step.target, "")]
        for step in job.decision.steps.values()
        for cells in _cells(step)
    ]
    if not rows:
        return ""
    headers = ["What", "Verb", "Field", "There", "In the spec", "Outcome"]
    return capped(f"## What differs\n\n{table(headers, rows[:SHOWN])}", len(rows), SHOWN)


def _cells(step: Step) -> Iterator[list[str]]:
    for each in step.differences:
        yield [text(each.field.replace("_", " ")), text(each.there) if each.there else "–", text(each.wanted)]
    if step.verb is not Verb.LEAVE and not step.differences:
        yield ["–", "–", text(step.reason)]


def _not_well(outcomes: Sequence[Outcome]) -> str:
    lines = [
        f"- {outcome.result.value}: {outcome.verdict.verb} {_link(outcome.verdict.target)}: {text(outcome.detail)}"
        for outcome in outcomes
        if outcome.result in (Result.FAILED, Result.SKIPPED)
    ]
    return capped("## What was not done\n\n" + "\n".join(lines[:SHOWN]), len(lines), SHOWN) if lines else ""


def _left(job: Reconcile) -> str:
    """What is left as it is: counted where there is nothing more to say, and by name where there is."""
    steps = [step for step in job.decision.steps.values() if step.verb is Verb.LEAVE]
    usual = Counter((step.target.kind, step.reason) for step in steps if step.reason in (AS_WRITTEN, UNMANAGED))
    lines = [f"- {counted(count, NAMES[kind])}: {text(reason)}" for (kind, reason), count in usual.items()]
    told = [(step.target, step.reason) for step in steps if step.reason not in (AS_WRITTEN, UNMANAGED)]
    told += [
        (step.target, step.held) for step in job.decision.steps.values() if step.held and step.verb is not Verb.LEAVE
    ]
    lines += [f"- {_link(target)}: {text(words)}" for target, words in told[:SHOWN]]
    return capped("## Left as it is\n\n" + "\n".join(lines), len(told), SHOWN) if lines else ""


def _behind(job: Reconcile, outcomes: Sequence[Outcome]) -> str:
    """What the present default templates have more, but for what was brought up to date just now."""
    done = {outcome.verdict.target for outcome in outcomes if outcome.result is Result.DONE}
    renewed = {target.name for target in done if "base_job_template" in job.decision.steps[target].body}
    behind = {pool: lacks for pool, lacks in job.decision.behind.items() if pool not in renewed}
    if not behind:
        return ""
    lines = [f"- {pool_link(pool)}: {text(some_of(lacks, shown=8))}" for pool, lacks in list(behind.items())[:SHOWN]]
    words = "The present default template of the worker type has what these lack:"
    return capped(f"## Templates behind their worker type\n\n{words}\n\n" + "\n".join(lines), len(behind), SHOWN)


def _footnote(job: Reconcile) -> str:
    every_row = artifact_link("table", f"{job.key}-table")
    return (
        f"The {every_row} has every work pool, and every work queue of those in {text(job.path)}. What the spec does "
        "not name is not looked at; of templates only the paths that differ are told, never values."
    )


def _rows(job: Reconcile, outcomes: Sequence[Outcome]) -> tuple[Row, ...]:
    return plan_rows(job.decision.plan, outcomes)


def _link(target: Target) -> str:
    return pool_link(target.name) if target.kind is Kind.POOL else text(target.name)

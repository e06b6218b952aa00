"""A cleanup as a page and a table: what was found, kept and why, done, skipped, failed, left, and what that saved."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flows.policy.approval import digest
from flows.policy.cleanup.decision import Decision, rule_of
from flows.policy.cleanup.kinds import CleanupKind, Scope
from flows.policy.cleanup.pace import Pace
from flows.policy.plan import Kind, Outcome, Result, Target, Verb, Verdict
from flows.policy.words import counted, lasting
from flows.report.cleanup_picture import cleanup_picture
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
from flows.report.page import VERDICT, Report, Row
from flows.report.plan import plan_rows

SHOWN = 20
SHOWN_AT_THE_FORM = 3
# What a change is, where a kind has one.
CHANGES = {"orphaned-deployments": "attach", "idle-pools": "mark"}
MEANS = {
    "finished-runs": "Runs that ended long ago",
    "late-runs": "Runs that are late for long",
    "stuck-runs": "Runs that hold a slot, and nobody works on them",
    "orphaned-runs": "Scheduled runs that no work pool will ever start",
    "orphaned-deployments": "Deployments whose work pool was deleted",
    "offline-workers": "Workers that have gone",
    "empty-queues": "Work queues that nothing uses",
    "idle-pools": "Work pools that nothing uses",
}


@dataclass(frozen=True, slots=True)
class Cleanup:
    """All that a report of a cleanup is made of. `died` tells of earlier runs, `answer` what a person said to the plan,
    `task_runs` how many went with the runs that were deleted."""

    scope: Scope
    decision: Decision
    pace: Pace
    dry_run: bool
    key: str
    died: tuple[str, ...] = ()
    answer: str = ""
    task_runs: int = 0


def cleanup_report(job: Cleanup, outcomes: Sequence[Outcome]) -> Report:
    """The report with these outcomes: planned ones before, real ones after."""
    if reason := job.scope.selection.emptiness:
        return Report(reason, sections(f"**{text(reason)}**", "Nothing was looked at, nothing was changed."))
    verdict = _verdict(job, outcomes)
    page = sections(
        f"**{text(verdict, longest=VERDICT)}**",
        *(f"> {text(words, longest=VERDICT)}" for words in (*job.died, job.answer) if words),
        _what_next(job, outcomes),
        cleanup_picture(outcomes),
        _balance(job, outcomes),
        *(_acted(kind, outcomes) for kind in job.decision.found),
        _kept(job),
        _saved(job, outcomes),
        _footnote(job),
    )
    return Report(verdict, page, _rows(job, outcomes))


def plan_page(job: Cleanup) -> str:
    """The plan as a person sees it who is to approve it."""
    outcomes = [Outcome(action, Result.PLANNED) for action in job.decision.plan.actions]
    planned = text(_sentence(_planned(job.decision.plan.actions)), longest=VERDICT)
    return sections(
        f"**{planned}.** Plan `{digest(job.decision.plan)}`, made {moment(job.decision.now)} UTC, good for "
        f"{lasting(job.pace.longest_wait)}. "
        f"The {artifact_link('table', f'{job.key}-table')} has every action.",
        *(_acted(kind, outcomes, SHOWN_AT_THE_FORM) for kind in job.decision.found),
    )


def _verdict(job: Cleanup, outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return plain(_prefixed(job, f"nothing to clear away ({counted(_found(job), 'thing')} looked at)"))
    counts = Counter(outcome.result for outcome in outcomes)
    if set(counts) == {Result.PLANNED}:
        words = f"{_planned([each.verdict for each in outcomes])}; plan {digest(job.decision.plan)}"
        return plain(_prefixed(job, words), longest=VERDICT)
    left = sum(outcome.is_left for outcome in outcomes)
    parts = [f"{counts[Result.DONE]:,} of {counted(len(outcomes), 'action')} done"]
    parts += [f"{counts[result]:,} {result}" for result in (Result.FAILED, Result.REFUSED) if counts[result]]
    if skipped := counts[Result.SKIPPED] - left:
        parts.append(f"{skipped:,} skipped")
    if left:
        parts.append(f"{left:,} left for the next run")
    done = [outcome.verdict for outcome in outcomes if outcome.result is Result.DONE]
    return plain("; ".join(parts) + (f" ({_planned(done)})" if done else ""), longest=VERDICT)


def _prefixed(job: Cleanup, words: str) -> str:
    return f"Dry run: {words}" if job.dry_run else _sentence(words)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _planned(actions: Sequence[Verdict]) -> str:
    """`delete 1,200 finished runs, crash 2 stuck runs`."""
    counts = Counter((_verb(action), rule_of(action)) for action in actions)
    return ", ".join(f"{verb} {count:,} {_named(rule, count)}" for (verb, rule), count in counts.items())


def _verb(action: Verdict) -> str:
    return CHANGES[rule_of(action)] if action.verb is Verb.CHANGE else action.verb.value


def _named(rule: str, count: int) -> str:
    words = rule.replace("-", " ")
    return words.removesuffix("s") if count == 1 else words


def _found(job: Cleanup) -> int:
    return sum(len(found.verdicts) + sum(found.left.values()) for found in job.decision.found.values())


def _what_next(job: Cleanup, outcomes: Sequence[Outcome]) -> str:
    if not (job.dry_run and outcomes):
        return ""
    return (
        f"Nothing was changed: this was a dry run, and its plan is `{digest(job.decision.plan)}`. To have it carried "
        "out, run the deployment with `dry_run` off; with `approval` set to `ask` it shows the plan and waits for you."
    )


def _balance(job: Cleanup, outcomes: Sequence[Outcome]) -> str:
    """A row for each kind; what was planned is what was done, skipped, failed, refused and left."""
    counts = Counter((rule_of(outcome.verdict), _result(outcome)) for outcome in outcomes)
    columns = [
        each
        for each in ("planned", "done", "skipped", "failed", "refused", "left")
        if any(result == each for _, result in counts)
    ]
    rows = []
    for kind, found in job.decision.found.items():
        actions = sum(verdict.verb is not Verb.LEAVE for verdict in found.verdicts)
        looked_at = len(found.verdicts) + sum(found.left.values())
        rows.append(
            [f"`{kind}`", f"{looked_at:,}", f"{looked_at - actions:,}"]
            + [f"{counts[kind, each]:,}" for each in columns]
        )
    return table(["Kind", "Found", "Kept", *(each.capitalize() for each in columns)], rows)


def _result(outcome: Outcome) -> str:
    return "left" if outcome.is_left else outcome.result.value


def _acted(kind: CleanupKind, outcomes: Sequence[Outcome], shown: int = SHOWN) -> str:
    """The actions of one kind, those first that did not go well; of those that were not begun, how many and why."""
    own = [outcome for outcome in outcomes if rule_of(outcome.verdict) == kind]
    begun = [outcome for outcome in own if not outcome.is_left]
    begun.sort(key=lambda outcome: outcome.result in (Result.DONE, Result.PLANNED))
    items = [
        f"- {outcome.result.value}: {_verb(outcome.verdict)} {_link(outcome.verdict.target)}: "
        f"{text(outcome.verdict.reason)}" + (f" ({text(outcome.detail)})" if outcome.detail else "")
        for outcome in begun[:shown]
    ]
    left = Counter(outcome.detail for outcome in own if outcome.is_left)
    items += [f"- {count:,} {text(detail)}" for detail, count in left.items()]
    return capped(f"## {MEANS[kind]}\n\n" + "\n".join(items), len(begun), shown) if items else ""


def _kept(job: Cleanup) -> str:
    """What was left alone, and why: counted by reason, and those by name that are few."""
    parts = []
    for kind, found in job.decision.found.items():
        lines = [f"- {count:,}: {text(reason)}" for reason, count in sorted(found.left.items(), key=_by_count)]
        alone = [verdict for verdict in found.verdicts if verdict.verb is Verb.LEAVE]
        lines += [f"- {_link(verdict.target)}: {text(verdict.reason)}" for verdict in alone[:SHOWN]]
        if lines:
            parts.append(capped(f"**`{kind}`**\n\n" + "\n".join(lines), len(alone), SHOWN))
    return sections("## Kept, and why", *parts) if parts else ""


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _saved(job: Cleanup, outcomes: Sequence[Outcome]) -> str:
    done = Counter(rule_of(each.verdict) for each in outcomes if each.result is Result.DONE)
    lines = list(_savings(done, job.task_runs))
    return sections("## What it saved", "\n".join(f"- {line}" for line in lines)) if lines else ""


def _savings(done: Counter[str], task_runs: int) -> Iterable[str]:
    if count := done["finished-runs"]:
        with_them = f"{counted(task_runs, 'task run')}, their states and their logs"
        yield f"{counted(count, 'run')} with {with_them} are out of the database"
    if count := done["stuck-runs"]:
        yield f"{counted(count, 'slot')} of work pools free again"
    if count := done["late-runs"] + done["orphaned-runs"]:
        yield f"{counted(count, 'run')} will not start all at once, or wait for ever"
    if count := done["orphaned-deployments"]:
        yield f"{counted(count, 'deployment')} run again"
    if count := done["offline-workers"] + done["empty-queues"] + done["idle-pools"]:
        yield f"{counted(count, 'row')} fewer to look through"


def _footnote(job: Cleanup) -> str:
    retention = job.scope.retention
    every_row = artifact_link("table", f"{job.key}-table")
    return (
        f"The {every_row} has every action, and what was left alone by name. Finished runs are kept for "
        f"{lasting(retention.finished)}, the last {retention.keep_last} of each deployment for good. Plan "
        f"`{digest(job.decision.plan)}`, made {moment(job.decision.now)} UTC."
    )


def _rows(job: Cleanup, outcomes: Sequence[Outcome]) -> tuple[Row, ...]:
    """The columns that every acting job has, and whose rule it was."""
    return plan_rows(job.decision.plan, outcomes, lambda verdict: {"rule": rule_of(verdict)})


def _link(target: Target) -> str:
    if target.kind is Kind.POOL:
        return pool_link(target.name)
    if target.kind is Kind.RUN:
        return run_link(target.name, target.id)
    if target.kind is Kind.DEPLOYMENT:
        return deployment_link(target.name, target.id)
    return text(target.name)

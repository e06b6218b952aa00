"""Auto-pause as a page and a table: what was done and why, what is paused until when, and how a person steps in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from flows.policy.case import Rules
from flows.policy.circuit import Circuit, Phase
from flows.policy.override import OVERRIDES
from flows.policy.plan import Kind, Outcome, Result, Target, Verb
from flows.policy.watched import AutoPauseFacts, Decided, Decision
from flows.policy.words import counted, lasting, some_of
from flows.report.markdown import (
    artifact_link,
    capped,
    deployment_link,
    plain,
    pool_link,
    run_link,
    sections,
    table,
    text,
)
from flows.report.page import VERDICT, Report, Row
from flows.report.plan import balance, plan_rows
from flows.report.story import story_picture

SHOWN = 50
NAMED = 3
DONE_TO = {
    (Verb.PAUSE, Phase.OPEN): "paused",
    (Verb.CHANGE, Phase.OPEN): "kept paused",
    (Verb.RESUME, Phase.HALF_OPEN): "resumed on trial",
    (Verb.CHANGE, Phase.CLOSED): "circuit closed",
    (Verb.RESUME, Phase.CLOSED): "resumed",
}


@dataclass(frozen=True, slots=True)
class AutoPause:
    """All that a report of auto-pause is made of. `unreadable` names variables that are not as they were written."""

    facts: AutoPauseFacts
    decision: Decision
    rules: Rules
    dry_run: bool
    unreadable: tuple[str, ...]
    key: str


def auto_pause_report(job: AutoPause, outcomes: Sequence[Outcome]) -> Report:
    """The report with these outcomes: planned ones before, real ones after."""
    if job.facts.selection.emptiness:
        reason = job.facts.selection.emptiness
        return Report(reason, sections(f"**{text(reason)}**", "Nothing was looked at, nothing was changed."))
    verdict = _verdict(job, outcomes)
    page = sections(
        f"**{text(verdict, longest=VERDICT)}**",
        _trouble(job),
        _done(job, outcomes),
        _standing(job, outcomes),
        _dropped(outcomes),
        _looked_at(job),
        _footnote(job),
    )
    return Report(verdict, page, tuple(_row(row, verdict, job) for row, verdict in _rows(job, outcomes)))


def _verdict(job: AutoPause, outcomes: Sequence[Outcome]) -> str:
    pools = sum(target.kind is Kind.POOL for target in job.decision.turns)
    parts = [counted(pools, "work pool")]
    if job.decision.incident:
        parts.append(job.decision.incident)
    grouped: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.verdict.target.kind is not Kind.RUN and outcome.result in (Result.DONE, Result.PLANNED):
            decided = job.decision.turns[outcome.verdict.target]
            if not (job.decision.incident and decided.opens):
                grouped.setdefault(_what(decided), []).append(outcome.verdict.target.name)
    would = "would be " if job.dry_run else ""
    parts += [f"{would}{what}: {some_of(names, NAMED)}" for what, names in grouped.items()]
    dropped = [each for each in outcomes if each.verdict.target.kind is Kind.RUN]
    if dropped:
        parts.append(f"backlog, {balance(dropped)}")
    others = Counter(outcome.result for outcome in outcomes if outcome.result in (Result.FAILED, Result.SKIPPED))
    parts += [f"{count} {result}" for result, count in others.items()]
    for phase in (Phase.OPEN, Phase.HALF_OPEN):
        stand = [each for each, circuit in _circuits(job, outcomes) if circuit.phase is phase]
        names = [each.watched.gate.target.name for each in stand if each.turn.verb is Verb.LEAVE]
        parts += [f"{phase}: {some_of(names, NAMED)}"] if names else []
    if not outcomes:
        parts.insert(1, "nothing to do")
    return plain(("Dry run: " if job.dry_run else "") + "; ".join(parts), longest=VERDICT)


def _what(decided: Decided) -> str:
    if decided.turn.tidies:
        return "note of an ended pause taken away"
    circuit = decided.turn.circuit
    phase = circuit.phase if circuit else Phase.CLOSED
    return DONE_TO.get((decided.turn.verb, phase), str(decided.turn.verb))


def _circuits(job: AutoPause, outcomes: Sequence[Outcome], *, closed: bool = False) -> list[tuple[Decided, Circuit]]:
    """The circuits that stand now (`closed`: those too): what was turned as it became, all else as it was."""
    became = {outcome.verdict.target: outcome.result for outcome in outcomes}
    found = []
    for target, decided in job.decision.turns.items():
        is_done = decided.turn.verb is Verb.LEAVE or became.get(target) in (Result.DONE, Result.PLANNED)
        is_done = is_done and not (decided.opens and bool(job.decision.incident))
        circuit = decided.turn.circuit if is_done else decided.watched.settled.circuit
        if circuit is not None and (closed or circuit.phase is not Phase.CLOSED):
            found.append((decided, circuit))
    return found


def _trouble(job: AutoPause) -> str:
    lines = []
    if job.decision.incident:
        lines.append(f"> **One incident.** {text(job.decision.incident, longest=VERDICT)}")
    if misread := sorted(job.facts.overrides.misread):
        names = text(some_of(misread, NAMED))
        lines.append(f"> Left alone, as `{OVERRIDES}` says neither `open` nor `disabled` of it: {names}.")
    if job.unreadable:
        lines.append(
            f"> Not as Poolkeeper wrote them, and ignored: the variables {text(some_of(job.unreadable, NAMED))}."
        )
    return "\n\n".join(lines)


def _done(job: AutoPause, outcomes: Sequence[Outcome]) -> str:
    shown = [outcome for outcome in outcomes if outcome.verdict.target.kind is not Kind.RUN]
    if not shown:
        return ""
    rows = [
        [
            _link(outcome.verdict.target),
            text(_what(job.decision.turns[outcome.verdict.target])),
            text(outcome.verdict.reason + (f" ({outcome.detail})" if outcome.detail else "")),
            outcome.result.value,
        ]
        for outcome in shown[:SHOWN]
    ]
    heading = "## What would be done" if job.dry_run else "## What was done"
    return capped(f"{heading}\n\n" + table(["What", "", "Why", "Outcome"], rows), len(shown), SHOWN)


def _dropped(outcomes: Sequence[Outcome]) -> str:
    runs = [outcome for outcome in outcomes if outcome.verdict.target.kind is Kind.RUN]
    if not runs:
        return ""
    rows = [
        [run_link(each.verdict.target.name, each.verdict.target.id), text(each.verdict.reason), each.result.value]
        for each in runs[:SHOWN]
    ]
    return capped("## Runs dropped from the backlog\n\n" + table(["Run", "Why", "Outcome"], rows), len(runs), SHOWN)


def _standing(job: AutoPause, outcomes: Sequence[Outcome]) -> str:
    """Each circuit with its story; as a list, because a table of sentences is wider than the page."""
    found = _circuits(job, outcomes)
    picture = story_picture([circuit for _, circuit in _circuits(job, outcomes, closed=True)], job.rules.now)
    heading = sections("## Circuits", picture)
    if not found:
        return heading + "\nNone is open."
    items = []
    for decided, circuit in found[:SHOWN]:
        story = " → ".join(f"{moment.at:%H:%M:%S} {moment.phase}" for moment in circuit.story)
        items.append(
            f"- {_link(decided.watched.gate.target)}: **{_standing_words(circuit)}**. "
            f"{text(circuit.reason)}" + (f"\n  - {story}" if len(circuit.story) > 1 else "")
        )
    return capped(heading + "\n" + "\n".join(items), len(found), SHOWN)


def _standing_words(circuit: Circuit) -> str:
    if circuit.phase is Phase.HALF_OPEN:
        return f"half-open since {circuit.since:%H:%M:%S} UTC"
    return f"open until {circuit.until:%Y-%m-%d %H:%M:%S} UTC" if circuit.until else "open until a person lets it go"


def _looked_at(job: AutoPause) -> str:
    """Where runs failed, and why that is left alone."""
    shown = [
        decided
        for decided in job.decision.turns.values()
        if decided.turn.verb is Verb.LEAVE and decided.watched.failed and not decided.watched.is_standing
    ]
    if not shown:
        return ""
    shown.sort(key=lambda decided: -decided.watched.failed)
    rows = [[_link(decided.watched.gate.target), text(decided.turn.reason)] for decided in shown[:SHOWN]]
    return capped("## Failures that pause nothing\n\n" + table(["What", "Why not"], rows), len(shown), SHOWN)


def _footnote(job: AutoPause) -> str:
    threshold, recovery = job.rules.threshold, job.rules.recovery
    crashed = "crashed runs count as failed" if threshold.count_crashed else "crashed runs do not count"
    every_row = artifact_link("table", f"{job.key}-table")
    return sections(
        f"The {every_row} has every work pool that was looked at, and why it was left alone.",
        f"Failing is {threshold.failure_rate:.0%} of at least {threshold.minimum_runs} runs that ended in the "
        f"{threshold.window_minutes} min before {job.rules.now:%Y-%m-%d %H:%M:%S} UTC; {crashed}, cancelled ones never "
        f"count. A pause lasts {lasting(recovery.cooldown(0, ''))} or a little longer, then "
        f"{counted(recovery.probe_runs, 'run')} may try. Backlog: {recovery.backlog}.",
        "To step in, resume the work pool: then it is left to you. Or write its name into the "
        f'[variable](../../variables) `{OVERRIDES}`: `{{"etl-pool": "disabled"}}` has it left alone, '
        '`{"etl-pool": "open"}` has it paused until you take that back.',
        "Nothing was changed: this was a dry run. Its circuits are kept as shadows." if job.dry_run else "",
    )


def _rows(job: AutoPause, outcomes: Sequence[Outcome]) -> list[tuple[Row, Target]]:
    plan = job.decision.plan
    targets = [verdict.target for verdict in plan.verdicts]
    return list(zip(plan_rows(plan, outcomes), targets, strict=True))


def _row(row: Row, target: Target, job: AutoPause) -> Row:
    """The columns that every acting job has, and what the circuit is once this is done."""
    decided = job.decision.turns.get(target)
    circuit = decided.turn.circuit if decided else None
    tally = decided.watched.tally if decided else None
    return {
        **row,
        "circuit": circuit.phase.value if circuit else "closed" if decided else "",
        "until": circuit.until.isoformat() if circuit and circuit.until else None,
        "finished": tally.finished if tally else None,
        "failed": tally.failed if tally else decided.watched.failed if decided else None,
    }


def _link(target: Target) -> str:
    return pool_link(target.name) if target.kind is Kind.POOL else deployment_link(target.name, target.id)

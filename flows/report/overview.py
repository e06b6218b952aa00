"""The keeper's own page: everything at a glance, and where to go from there."""

from collections.abc import Sequence
from datetime import datetime

from flows.policy.circuit import Circuit, Phase
from flows.policy.overview import HOURS_BACK, Change, NextRun, OverviewFacts
from flows.policy.plan import Kind
from flows.policy.pool_health import ADVICE
from flows.policy.words import counted, lasting
from flows.report.fleet_picture import fleet_picture
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
from flows.report.page import VERDICT, Row

KEY = "poolkeeper"
SHOWN = 20
LINK = f"{artifact_link('Poolkeeper at a glance', KEY)}"


def overview_verdict(facts: OverviewFacts) -> str:
    """One line: how many work pools need attention, what is paused, how much was done."""
    changes = len(facts.changes) + facts.more_changes + sum(facts.run_changes.values())
    parts = ["no inventory yet"]
    if facts.fleet_at:
        needing = len(_needing_attention(facts))
        need = f"{needing or 'none'} need{'s' if needing in (0, 1) else ''} attention"
        parts = [f"{counted(len(facts.fleet), 'work pool')}, {need}"]
    if facts.standing:
        parts.append(f"{counted(len(facts.standing), 'circuit')} not closed")
    if facts.paused_otherwise:
        parts.append(f"{len(facts.paused_otherwise)} paused by people")
    parts.append(f"{counted(changes, 'change')} in the last {HOURS_BACK} hours")
    return plain("; ".join(parts), longest=VERDICT)


def overview_page(facts: OverviewFacts) -> str:
    """The page as Markdown."""
    return sections(
        f"**{text(overview_verdict(facts), longest=VERDICT)}**",
        _attention(facts),
        fleet_picture(facts.fleet),
        _paused(facts),
        _changes(facts),
        _next_runs(facts.next_runs, facts.now),
        "## Reports\n\n" + " · ".join(artifact_link(job, job) for job in facts.reports) if facts.reports else "",
        f"As of {moment(facts.now)} UTC; the fleet as of {moment(facts.fleet_at)} UTC. Brought up to date by every "
        "inventory and preview, and whenever something was changed.",
    )


def _needing_attention(facts: OverviewFacts) -> list[tuple[Row, list[str]]]:
    """Work pools with findings that are more than advice."""
    found = []
    for row in facts.fleet:
        pressing = [code for code in str(row.get("findings") or "").split(", ") if code and code not in ADVICE]
        if pressing:
            found.append((row, pressing))
    return found


def _attention(facts: OverviewFacts) -> str:
    needing = _needing_attention(facts)
    if not needing:
        return ""
    items = [f"- {pool_link(str(row['pool']))}: {text(', '.join(codes))}" for row, codes in needing[:SHOWN]]
    return capped("## Needs attention\n\n" + "\n".join(items), len(needing), SHOWN)


def _paused(facts: OverviewFacts) -> str:
    rows = [_circuit(each) for each in facts.standing]
    rows += [
        [pool_link(pool.name), "paused", "", text(note or "by a person; no note says why")]
        for pool, note in facts.paused_otherwise
    ]
    heading = "## Paused, and on trial\n\n"
    if not rows:
        return heading + "Nothing."
    return capped(heading + table(["What", "How", "Until", "Why"], rows[:SHOWN]), len(rows), SHOWN)


def _circuit(circuit: Circuit) -> list[str]:
    until = "its probe runs decide" if circuit.phase is Phase.HALF_OPEN else "a person takes a wish back"
    if circuit.until:
        until = f"{moment(circuit.until)} UTC"
    return [_link(circuit.kind, circuit.name, circuit.id), circuit.phase.value, until, text(circuit.reason)]


def _changes(facts: OverviewFacts) -> str:
    heading = f"## Done in the last {HOURS_BACK} hours\n\n"
    runs = ", ".join(f"{counted(count, 'run')} {text(did)}" for did, count in sorted(facts.run_changes.items()))
    if not facts.changes:
        return heading + (f"{runs}." if runs else "Nothing was changed.")
    rows = [_change(each) for each in facts.changes[:SHOWN]]
    total = len(facts.changes) + facts.more_changes
    listed = capped(heading + table(["When (UTC)", "What", "Why", "By"], rows), total, SHOWN)
    return sections(listed, f"And {runs}." if runs else "")


def _change(change: Change) -> list[str]:
    by = run_link(change.by, change.run_id) if change.run_id else text(change.by)
    return [
        moment(change.at),
        f"{text(change.did)} {_link(change.kind, change.name, change.id)}",
        text(change.reason),
        by,
    ]


def _link(kind: Kind | None, name: str, id_: str) -> str:
    if kind is Kind.POOL:
        return pool_link(name)
    if kind is Kind.DEPLOYMENT:
        return deployment_link(name, id_)
    return run_link(name, id_) if kind is Kind.RUN else text(name)


def _next_runs(runs: Sequence[NextRun], now: datetime) -> str:
    if not runs:
        return "## Poolkeeper's next runs\n\nNone is scheduled: see whether its deployments are there and not paused."
    rows = [[text(each.job), run_link(moment(each.at), each.id), _in(each.at, now)] for each in runs]
    return "## Poolkeeper's next runs\n\n" + table(["Job", "At (UTC)", ""], rows)


def _in(at: datetime, now: datetime) -> str:
    return f"in {lasting(at - now)}" if at > now else f"**late by {lasting(now - at)}**"

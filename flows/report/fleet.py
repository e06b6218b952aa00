"""The fleet at a glance: what needs attention, what belongs to no pool, the picture, what changed, every pool."""

from collections import Counter
from collections.abc import Sequence

from flows.policy.fleet import FleetFacts, PoolState
from flows.policy.orphans import orphaned_deployments
from flows.policy.pool_health import ADVICE, Code, Finding, find_in_fleet
from flows.policy.words import counted
from flows.report.fleet_picture import fleet_picture
from flows.report.markdown import artifact_link, bar, capped, deployment_link, plain, pool_link, sections, table, text
from flows.report.observed import POOLS_ON_PAGE, Inventory, changes_section, footnote
from flows.report.page import VERDICT, Row

NAMED_IN_VERDICT = 3


def _needing_attention(inventory: Inventory) -> list[PoolState]:
    """Pools with more than advice, those first whose most pressing finding presses most."""

    def rank(state: PoolState) -> int:
        return min(list(Code).index(finding.code) for finding in inventory.found(state))

    pools = [state for state in inventory.facts.fleet.pools if _pressing(inventory.found(state))]
    return sorted(pools, key=lambda state: (rank(state), state.pool.name))


def fleet_verdict(inventory: Inventory) -> str:
    count, attention = len(inventory.facts.fleet.pools), _needing_attention(inventory)
    pools = counted(count, "work pool")
    fleet = [finding.text for finding in find_in_fleet(inventory.facts.fleet, inventory.facts.now)]
    if not attention:
        return plain("; ".join([f"{pools}, none needs attention", *fleet]), longest=VERDICT)
    if len(attention) <= NAMED_IN_VERDICT:
        named = ", ".join(f"{state.pool.name} ({_codes(state, inventory)})" for state in attention)
    else:
        codes = Counter(finding.code for state in attention for finding in _pressing(inventory.found(state)))
        named = ", ".join(f"{codes[code]} {code}" for code in Code if codes[code])
    needs = "1 needs" if len(attention) == 1 else f"{len(attention)} need"
    return plain("; ".join([f"{pools}, {needs} attention: {named}", *fleet]), longest=VERDICT)


def _codes(state: PoolState, inventory: Inventory) -> str:
    return ", ".join(finding.code for finding in _pressing(inventory.found(state)))


def _pressing(findings: Sequence[Finding]) -> list[Finding]:
    """Without what is only advice."""
    return [finding for finding in findings if finding.code not in ADVICE]


def fleet_page(inventory: Inventory, rows: Sequence[Row]) -> str:
    fleet = inventory.facts.fleet
    attention = _needing_attention(inventory)
    every_row = artifact_link(f"table of {counted(len(fleet.pools), 'work pool')}", inventory.table_key)
    return sections(
        f"**{text(fleet_verdict(inventory), longest=VERDICT)}**",
        _attention(attention, inventory),
        _orphans(inventory),
        sections("## Fleet", fleet_picture(rows)),
        changes_section(inventory),
        sections("## Work pools", _fleet_table(attention, inventory)),
        f"The {every_row} can be searched.",
        _gone(fleet),
        footnote(inventory),
    )


def _attention(attention: Sequence[PoolState], inventory: Inventory) -> str:
    if not attention:
        return ""
    rows = [[pool_link(state.pool.name), _why(inventory.found(state))] for state in attention[:POOLS_ON_PAGE]]
    return capped("## Needs attention\n\n" + table(["Work pool", "Why"], rows), len(attention), POOLS_ON_PAGE)


def _why(findings: Sequence[Finding]) -> str:
    return "<br>".join(f"**{finding.code}**: {text(finding.text)}" for finding in _pressing(findings))


def _orphans(inventory: Inventory) -> str:
    fleet, now = inventory.facts.fleet, inventory.facts.now
    findings = find_in_fleet(fleet, now)
    unlisted = fleet.unlisted_without_pool
    if not findings and not unlisted:
        return ""
    orphans = orphaned_deployments(fleet, now)
    rows = [
        [deployment_link(orphan.name, orphan.id), str(orphan.active_schedules), str(orphan.scheduled_runs)]
        for orphan in orphans[:POOLS_ON_PAGE]
    ]
    codes = ", ".join(f"**{finding.code}**" for finding in findings)
    return sections(
        "## Without a work pool",
        f"{codes}: these deployments make runs that nobody can start. Give each a work pool, or pause or delete it."
        if findings
        else "",
        capped(table(["Deployment", "Active schedules", "Scheduled runs"], rows), len(orphans), POOLS_ON_PAGE)
        if rows
        else "",
        f"{unlisted} more deployments have no work pool; they were too many to look at one by one." if unlisted else "",
    )


def _fleet_table(attention: Sequence[PoolState], inventory: Inventory) -> str:
    first = {state.pool.name for state in attention}
    rest = [state for state in inventory.facts.fleet.pools if state.pool.name not in first]
    rows = [
        [
            pool_link(state.pool.name),
            text(state.pool.type),
            text(state.pool.status or "–"),
            bar(len(state.active), state.pool.concurrency_limit),
            f"{len(state.workers_online(inventory.facts.now))} of {len(state.workers)}",
            str(state.late),
            f"{state.failed} of {state.finished}",
        ]
        for state in [*attention, *rest][:POOLS_ON_PAGE]
    ]
    headers = ["Work pool", "Type", "Status", "Slots in use", "Workers online", "Late", "Failed"]
    return table(headers, rows)


def _gone(fleet: FleetFacts) -> str:
    return f"Deleted while they were read: {', '.join(map(text, fleet.gone))}." if fleet.gone else ""

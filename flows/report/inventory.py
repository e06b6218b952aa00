"""The inventory as a page and a table: the fleet at a glance, or one pool inspected."""

from collections.abc import Mapping

from flows.policy.fleet import InventoryFacts, PoolState
from flows.policy.pool_health import Finding
from flows.report.fleet import fleet_page, fleet_verdict
from flows.report.markdown import sections, text
from flows.report.observed import Inventory
from flows.report.page import Report, Row
from flows.report.pool import pool_page, pool_verdict


def inventory_report(facts: InventoryFacts, findings: Mapping[str, tuple[Finding, ...]], key: str) -> Report:
    """The report of an inventory, with the findings of each pool by its name; `key` is where it will be found."""
    if facts.selection.emptiness:
        return _empty(facts.selection.emptiness)
    inventory = Inventory(facts, findings, table_key=f"{key}-table")
    rows = tuple(_row(state, inventory) for state in facts.fleet.pools)
    if facts.selection.narrowed_to is not None and facts.fleet.pools:
        return Report(pool_verdict(inventory), pool_page(inventory), rows)
    return Report(fleet_verdict(inventory), fleet_page(inventory, rows), rows)


def _empty(reason: str) -> Report:
    """The report of an inventory that selected nothing."""
    return Report(verdict=reason, markdown=sections(f"**{text(reason)}**", "Nothing was read beyond the names."))


def _row(state: PoolState, inventory: Inventory) -> Row:
    online = len(state.workers_online(inventory.facts.now))
    return {
        "pool": state.pool.name,
        "type": state.pool.type,
        "status": state.pool.status,
        "paused": state.pool.is_paused,
        "concurrency_limit": state.pool.concurrency_limit,
        "active": len(state.active),
        "queues": len(state.queues),
        "workers_online": online,
        "workers_offline": len(state.workers) - online,
        "deployments": state.deployments,
        "late": state.late,
        "finished": state.finished,
        "failed": state.failed,
        "findings": ", ".join(finding.code for finding in inventory.found(state)),
    }

"""What an inventory has to show, and the parts that the fleet's page and a pool's page share."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.policy.changes import changes_since
from flows.policy.fleet import InventoryFacts, PoolState
from flows.policy.pool_health import Finding
from flows.report.markdown import capped, pool_link, table, text

# Longer lists are in the table artifact, which can be searched.
POOLS_ON_PAGE = 50


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was observed, what was found in each pool by its name, and the key of the table artifact."""

    facts: InventoryFacts
    findings: Mapping[str, tuple[Finding, ...]]
    table_key: str

    def found(self, state: PoolState) -> tuple[Finding, ...]:
        return self.findings[state.pool.name]


def changes_section(inventory: Inventory) -> str:
    heading = "## Changed since the last inventory\n\n"
    found = changes_since(inventory.facts)
    if found is None:
        return heading + "There is no earlier inventory to compare with."
    if not found:
        return heading + "Nothing."
    rows = [
        [
            text(change.pool) if change.what == "deleted" else pool_link(change.pool),
            text(change.what) + (f": {text(change.before)} → {text(change.after)}" if change.after else ""),
        ]
        for change in found[:POOLS_ON_PAGE]
    ]
    return capped(heading + table(["Work pool", "What"], rows), len(found), POOLS_ON_PAGE)


def footnote(inventory: Inventory) -> str:
    return (
        f"Failed and finished runs are those that ended in the {inventory.facts.window_hours} hours before "
        f"{inventory.facts.now:%Y-%m-%d %H:%M:%S} UTC; cancelled ones do not count. Nothing was changed."
    )

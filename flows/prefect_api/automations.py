"""Automations by name. Prefect lets several have the same one; the oldest is the one that counts."""

from typing import Any

from prefect.events.schemas.automations import AutomationCore

from flows.prefect_api.client import Api
from flows.prefect_api.paging import Row, read_all_unordered


async def read_automations(api: Api) -> dict[str, list[Row]]:
    """All automations by name, the oldest of each name first."""
    rows = await read_all_unordered(api, "/automations/filter", {"sort": "NAME_ASC"}, what="automations")
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: str(row["created"])):
        found.setdefault(row["name"], []).append(row)
    return found


def described(automation: dict[str, Any]) -> dict[str, Any]:
    """An automation in the one form in which two can be compared: every default spelled out, no ids, no switch."""
    core = AutomationCore.model_validate({"tags": [], **automation})
    plain: dict[str, Any] = _plain(core.model_dump(mode="json", exclude={"enabled", "owner_resource"}))
    return plain


async def create_automation(api: Api, automation: dict[str, Any]) -> None:
    await api.write("POST", "/automations/", automation)


async def replace_automation(api: Api, existing: Row, automation: dict[str, Any]) -> None:
    """Write the automation over an existing one, which keeps its id and stays on or off as it is."""
    await api.write("PUT", f"/automations/{existing['id']}", {**automation, "enabled": existing["enabled"]})


def _plain(value: Any) -> Any:
    """Without the ids that each reading of a trigger makes anew, and names of events, which are a set, in order."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list):
        return sorted(value) if all(isinstance(inner, str) for inner in value) else [_plain(inner) for inner in value]
    return value

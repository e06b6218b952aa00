"""What the project says it wants on a server: prefect.yaml, management_pool.json, automations.yaml."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "deployments"
# What prefect.yaml says once for all of its deployments.
SHARED_STEPS = ("build", "push", "pull")
SCHEDULES = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}


class ProjectProblem(Exception):
    """The project's own files are not as they should be."""


@dataclass(frozen=True, slots=True)
class WantedDeployment:
    """A deployment as prefect.yaml has it: its full name, its entry there, and how it should look on a server."""

    name: str
    entry: Mapping[str, Any]
    described: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WantedAutomation:
    """An automation as automations.yaml has it; `deployments` are the ones its actions run, in order.

    `block`, as `type/name`: it is wanted only where there is such a block, which its actions use.
    """

    name: str
    body: Mapping[str, Any]
    deployments: tuple[str | None, ...]
    block: str | None = None

    def resolved(self, deployment_ids: Mapping[str, str], block_id: str | None = None) -> dict[str, Any]:
        """The body that Prefect takes: actions with the ids of their deployments, or of the block."""
        actions = [
            action if name is None else {**action, "source": "selected", "deployment_id": deployment_ids[name]}
            for action, name in zip(self.body["actions"], self.deployments, strict=True)
        ]
        if self.block is not None:
            actions = [{**action, "block_document_id": block_id} for action in actions]
        return {**self.body, "actions": actions}


def prefect_yaml(path: Path = ROOT / "prefect.yaml") -> dict[str, Any]:
    if not path.is_file():
        raise ProjectProblem(
            f"{path.name} is not beside the package: the flows are deployed from a checkout. "
            "Clone the repository and install it with 'pip install -e .'."
        )
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def management_pool() -> str:
    """The name of the work pool that the keeper runs on, set in prefect.yaml."""
    return str(prefect_yaml()["definitions"]["management"]["name"])


def management_type() -> str:
    """The worker type of that work pool where it has to be created."""
    return str(prefect_yaml()["definitions"].get("management_type", "process"))


def management_pool_spec() -> dict[str, Any]:
    """The work pool as it is on a machine, where the flows run as processes."""
    spec: dict[str, Any] = json.loads((HERE / "management_pool.json").read_text())
    del spec["queues"]
    return spec


def management_queues() -> list[dict[str, Any]]:
    """The work queues of it beside the default one."""
    queues: list[dict[str, Any]] = json.loads((HERE / "management_pool.json").read_text())["queues"]
    return queues


def wanted_deployments(path: Path = ROOT / "prefect.yaml") -> list[WantedDeployment]:
    content = prefect_yaml(path)
    shared = {key: content[key] for key in SHARED_STEPS if key in content}
    return [_wanted(shared | entry) for entry in content["deployments"]]


def wanted_automations() -> list[WantedAutomation]:
    """The automations, with what prefect.yaml sets for them filled in."""
    set_there = {
        "management_pool": management_pool(),
        "auto_pause_dry_run": json.dumps(prefect_yaml()["definitions"]["auto_pause_dry_run"]),
    }
    text = Template((HERE / "automations.yaml").read_text()).safe_substitute(set_there)
    return [_automation(entry) for entry in yaml.safe_load(text)]


def _wanted(entry: Mapping[str, Any]) -> WantedDeployment:
    flow: Any = load_flow_from_entrypoint(str(ROOT / entry["entrypoint"]), use_placeholder_flow=False)
    directory = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    described = {
        "entrypoint": entry["entrypoint"],
        "work_pool": entry["work_pool"]["name"],
        "tags": sorted(entry.get("tags", [])),
        "description": entry.get("description", ""),
        "parameters": entry.get("parameters", {}),
        "job_variables": entry["work_pool"].get("job_variables", {}),
        "pull_steps": entry.get("pull") or [directory],
        "parameter_schema": parameter_schema(flow).model_dump(exclude_unset=True, mode="json"),
        "concurrency_limit": _limit(entry.get("concurrency_limit")),
        "schedules": [_schedule(each) for each in sorted(entry.get("schedules", []), key=lambda s: str(s.get("slug")))],
    }
    if queue := entry["work_pool"].get("work_queue_name"):
        described["work_queue"] = queue
    return WantedDeployment(name=f"{flow.name}/{entry['name']}", entry=entry, described=described)


def _limit(declared: Any) -> Any:
    return declared.get("limit") if isinstance(declared, Mapping) else declared


def _schedule(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Only what the entry says: Prefect fills in the rest, some of it with the time of day."""
    kind = next(kind for kind in SCHEDULES if kind in entry)
    given = {key: entry[key] for key in (kind, "timezone", "day_or", "anchor_date") if key in entry}
    dumped = SCHEDULES[kind](**given).model_dump(mode="json", include=set(given))
    return {**dumped, "slug": entry.get("slug"), "parameters": entry.get("parameters", {})}


def _automation(entry: Mapping[str, Any]) -> WantedAutomation:
    actions = [dict(action) for action in entry["actions"]]
    deployments = tuple(action.pop("deployment", None) for action in actions)
    block = entry.get("block")
    body = {key: value for key, value in entry.items() if key != "block"}
    return WantedAutomation(entry["name"], {**body, "actions": actions}, deployments, block)

"""What prefect.yaml deploys, loaded as a run loads it, and what it promises."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.project import management_pool, wanted_automations, wanted_deployments

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
LOAD = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
flow = load_flow_from_entrypoint(sys.argv[1], use_placeholder_flow=False)
print(json.dumps({"name": flow.name, "schema": parameter_schema(flow).model_dump(mode="json")}))
"""


def loaded(entrypoint: str, cwd: Path = ROOT) -> dict[str, Any]:
    """The flow in a process that has nothing else loaded."""
    done = subprocess.run([sys.executable, "-c", LOAD, entrypoint], check=True, cwd=cwd, capture_output=True, text=True)
    flow: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return flow


@pytest.fixture(scope="module")
def inventory_flow() -> dict[str, Any]:
    return loaded("flows/inventory.py:inventory")


@pytest.fixture(scope="module")
def preview_flow() -> dict[str, Any]:
    return loaded("flows/preview.py:preview")


@pytest.fixture(scope="module")
def auto_pause_flow() -> dict[str, Any]:
    return loaded("flows/auto_pause.py:auto_pause")


@pytest.fixture(scope="module")
def cleanup_flow() -> dict[str, Any]:
    return loaded("flows/cleanup.py:cleanup")


@pytest.fixture(scope="module")
def lifecycle_flow() -> dict[str, Any]:
    return loaded("flows/lifecycle.py:lifecycle")


@pytest.fixture(scope="module")
def reconcile_flow() -> dict[str, Any]:
    return loaded("flows/reconcile.py:reconcile")


@pytest.mark.parametrize("entrypoint", [deployment["entrypoint"] for deployment in DEPLOYMENTS])
def test_every_entrypoint_loads_in_a_fresh_process(entrypoint: str) -> None:
    assert loaded(entrypoint)["name"].startswith("pool-")


def test_inventory_has_the_promised_parameters_and_defaults(inventory_flow: dict[str, Any]) -> None:
    properties = inventory_flow["schema"]["properties"]
    assert {name: field["default"] for name, field in properties.items()} == {
        "pools": ["*"],
        "exclude": [],
        "window_hours": 24,
    }
    assert (properties["window_hours"]["minimum"], properties["window_hours"]["maximum"]) == (1, 744)


def test_preview_has_the_promised_parameters_and_defaults(preview_flow: dict[str, Any]) -> None:
    properties = preview_flow["schema"]["properties"]
    assert {name: field.get("default") for name, field in properties.items()} == {
        "pools": ["*"],
        "exclude": [],
        "hours": 24,
        "timezone": "UTC",
        "what_if_limit": None,
        "acceptable_wait_minutes": 5,
        "calendar": False,
    }
    assert (properties["hours"]["minimum"], properties["hours"]["maximum"]) == (1, 744)
    assert preview_flow["schema"].get("required", []) == []


def test_auto_pause_has_the_promised_parameters_and_defaults(auto_pause_flow: dict[str, Any]) -> None:
    schema = auto_pause_flow["schema"]
    assert {name: field.get("default") for name, field in schema["properties"].items()} == {
        "pools": ["*"],
        "exclude": [],
        "threshold": {"failure_rate": 0.5, "minimum_runs": 10, "window_minutes": 60, "count_crashed": True},
        "recovery": {
            "cooldown_minutes": 10, "backoff": 2.0, "max_cooldown_minutes": 360,
            "probe_runs": 3, "probe_limit": 1, "backlog": "keep",
        },
        "limit": {"max_actions": 50, "max_share": 0.3},
        "dry_run": True,
    }  # fmt: skip
    for model in schema["definitions"].values():
        assert model["additionalProperties"] is False


def test_lifecycle_has_the_promised_parameters_and_defaults(lifecycle_flow: dict[str, Any]) -> None:
    schema = lifecycle_flow["schema"]
    assert {name: field.get("default") for name, field in schema["properties"].items()} == {
        "action": None,
        "pool": None,
        "reason": None,
        "actor": "",
        "expires_minutes": None,
        "backlog": "keep",
        "concurrency_limit": None,
        "wait_minutes": 60,
        "delete": {
            "move_deployments_to": "", "archive_deployments": False, "cancel_runs": False, "ignore_automations": False,
        },
        "limit": {"max_actions": 1, "max_share": 0.3},
        "dry_run": False,
    }  # fmt: skip
    assert schema["required"] == ["action", "pool", "reason"]
    for model in schema["definitions"].values():
        assert model["additionalProperties"] is False


def test_reconcile_has_the_promised_parameters_and_defaults(reconcile_flow: dict[str, Any]) -> None:
    schema = reconcile_flow["schema"]
    assert {name: field.get("default") for name, field in schema["properties"].items()} == {
        "spec": "deployments/pools.yaml",
        "prune": False,
        "export": False,
        "limit": {"max_actions": 50, "max_share": 0.3},
        "dry_run": True,
    }
    assert schema.get("required", []) == []


def test_what_clears_away_and_what_reconciles_is_deployed_as_a_plan_only() -> None:
    for name in ("pool-cleanup/management", "pool-reconcile/management"):
        (deployed,) = [each for each in wanted_deployments() if each.name == name]
        assert deployed.described["parameters"]["dry_run"] is True


def test_every_parameter_says_what_it_is(
    inventory_flow: dict[str, Any],
    preview_flow: dict[str, Any],
    auto_pause_flow: dict[str, Any],
    cleanup_flow: dict[str, Any],
    lifecycle_flow: dict[str, Any],
    reconcile_flow: dict[str, Any],
) -> None:
    for flow in (inventory_flow, preview_flow, auto_pause_flow, cleanup_flow, lifecycle_flow, reconcile_flow):
        fields = dict(flow["schema"]["properties"])
        for model in flow["schema"].get("definitions", {}).values():
            fields |= model["properties"]
        for name, field in fields.items():
            assert len(field["description"]) > 20, name


def test_every_deployment_is_on_the_one_management_pool_and_tagged_and_described() -> None:
    text = (ROOT / "prefect.yaml").read_text()
    assert text.count("name: management\n") == 1 + len(DEPLOYMENTS)
    for deployment in DEPLOYMENTS:
        assert deployment["work_pool"]["name"] == management_pool()
        assert deployment["name"] == "management"
        assert "poolkeeper" in deployment["tags"]
        assert len(deployment["description"]) > 100


def test_every_automation_runs_a_deployment_that_exists_and_none_its_own_pool() -> None:
    deployments = {wanted.name for wanted in wanted_deployments()}
    for wanted in wanted_automations():
        assert {name for name in wanted.deployments if name} <= deployments
        trigger = json.dumps(wanted.body["trigger"])
        # What the keeper's own runs could set off, they must be kept out of; a switch that waits for them is meant to,
        # and what only tells people starts nothing.
        starts_nothing = wanted.block is not None and not any(wanted.deployments)
        assert f"!{management_pool()}" in trigger or wanted.body["trigger"]["posture"] == "Proactive" or starts_nothing


def test_whatever_the_keeper_runs_is_ended_when_it_is_stranded() -> None:
    (wanted,) = [each for each in wanted_automations() if "stranded" in each.name]
    flows = {deployed.name.partition("/")[0] for deployed in wanted_deployments()}
    assert set(wanted.body["trigger"]["match_related"]["prefect.resource.name"]) == flows


def test_auto_pause_is_deployed_enforcing_with_one_switch_for_both_ways_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def deployed() -> tuple[Any, Any]:
        (sweep,) = [each for each in wanted_deployments() if each.name == "pool-auto-pause/management"]
        actions = [action for wanted in wanted_automations() for action in wanted.body["actions"]]
        (nudge,) = [action for action in actions if "dry_run" in action.get("parameters", {})]
        return sweep.described["parameters"]["dry_run"], nudge["parameters"]["dry_run"]

    assert deployed() == (False, False)
    text = (ROOT / "prefect.yaml").read_text()
    assert text.count("&auto_pause_dry_run false") == 1
    shadow = yaml.safe_load(text.replace("&auto_pause_dry_run false", "&auto_pause_dry_run true"))
    monkeypatch.setattr("deployments.project.prefect_yaml", lambda _=None: shadow)
    assert deployed() == (True, True)

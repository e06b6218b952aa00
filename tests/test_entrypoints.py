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


def test_every_parameter_says_what_it_is(inventory_flow: dict[str, Any], preview_flow: dict[str, Any]) -> None:
    for flow in (inventory_flow, preview_flow):
        for name, field in flow["schema"]["properties"].items():
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
        assert f"!{management_pool()}" in json.dumps(wanted.body["trigger"])

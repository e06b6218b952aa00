"""The README says what is so."""

import re
from pathlib import Path
from typing import Any

import yaml
from prefect.flows import load_flow_from_entrypoint

from flows.policy.forecast import Standing
from flows.policy.pool_health import Code

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def table_below(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = README.split(f"\n## {heading}\n", 1)[1]
    rows = re.findall(r"^\|(.+)\|$", section.split("\n## ", 1)[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def flow_of(entry: dict[str, Any]) -> str:
    return str(load_flow_from_entrypoint(str(ROOT / entry["entrypoint"]), use_placeholder_flow=False).name)


def test_the_table_of_flows_is_what_prefect_yaml_deploys() -> None:
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    deployed = {
        (f"`{flow_of(entry)}`", f"`{schedule['cron']}`") for entry in entries for schedule in entry["schedules"]
    }
    assert {(row[0], row[3]) for row in table_below("The flows")} == deployed


def test_the_table_of_findings_has_every_finding() -> None:
    assert [row[0] for row in table_below("Findings")] == [f"`{code}`" for code in Code]


def test_the_table_of_verdicts_has_every_verdict() -> None:
    assert [row[0] for row in table_below("What will run")] == [f"`{standing}`" for standing in Standing]


def test_ci_runs_the_test_command_that_the_readme_gives() -> None:
    block = README.split("<!-- test command -->", 1)[1].split("```", 2)[1]
    assert "pytest" in block
    assert "<!-- test command -->" in (ROOT / ".ci/run").read_text()


def test_every_file_it_names_exists() -> None:
    for name in re.findall(r"`((?:flows|deployments|tests)/[\w./]+|prefect\.yaml)`", README):
        assert (ROOT / name).exists(), name

"""The README says what is so."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import yaml
from prefect.flows import load_flow_from_entrypoint

from deployments.project import management_pool, wanted_deployments
from flows.policy.forecast import Standing
from flows.policy.lifecycle.request import Action
from flows.policy.pool_health import Code
from flows.policy.pool_spec import PoolSpec, QueueSpec, Spec
from flows.policy.selection import select_pools
from tests.processes import SERVER
from tests.production import SERVICES, UPGRADE, redis_settings

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
        (f"`{flow_of(entry)}`", f"`{schedule['cron']}`" if schedule else "–")
        for entry in entries
        for schedule in entry.get("schedules") or [None]
    }
    assert {(row[0], row[3]) for row in table_below("The flows")} == deployed


def test_the_table_of_findings_has_every_finding() -> None:
    assert [row[0] for row in table_below("Findings")] == [f"`{code}`" for code in Code]


def test_the_table_of_verdicts_has_every_verdict() -> None:
    assert [row[0] for row in table_below("What will run")] == [f"`{standing}`" for standing in Standing]


def test_the_table_of_actions_has_every_action() -> None:
    actions = [f"`{action}`" for action in get_args(Action)]
    assert [row[0] for row in table_below("A person's hand")][: len(actions)] == actions


def test_ci_runs_the_test_command_that_the_readme_gives() -> None:
    block = README.split("<!-- test command -->", 1)[1].split("```", 2)[1]
    assert "pytest" in block
    assert "<!-- test command -->" in (ROOT / ".ci/run").read_text()


def test_the_spec_that_it_shows_can_be_read() -> None:
    section = README.split("\n## Work pools as code\n", 1)[1]
    shown = Spec.model_validate(yaml.safe_load(section.split("```yaml\n", 1)[1].split("```", 1)[0]))
    (pool,) = shown.pools
    written = {field for part in (shown, pool, pool.queues[0]) for field in part.model_fields_set}
    assert written == {*Spec.model_fields, *PoolSpec.model_fields, *QueueSpec.model_fields}


def test_the_settings_of_a_server_in_production_are_those_that_the_tests_use() -> None:
    block = README.split("<!-- production -->", 1)[1].split("```", 2)[1]
    told = dict(re.findall(r"export (\w+)=(\S+)", block))
    database = told.pop("PREFECT_API_DATABASE_CONNECTION_URL")
    assert database.startswith("postgresql+asyncpg://")
    assert told == redis_settings("redis://host:6379/0")
    for command in (UPGRADE, (*SERVER, "--no-services"), SERVICES):
        assert f"prefect {' '.join(command)}" in block


def test_the_parts_into_which_it_splits_a_job_have_every_work_pool_once(tmp_path: Path) -> None:
    block = README.split("<!-- parts -->", 1)[1].split("```", 2)[1].removeprefix("yaml")
    text = (ROOT / "prefect.yaml").read_text().split("\ndeployments:", 1)[0]
    (tmp_path / "prefect.yaml").write_text(f"{text}\ndeployments:\n{block}")
    (_, part) = wanted = yaml.safe_load((tmp_path / "prefect.yaml").read_text())["deployments"]
    names = ["etl-1", "etl-2", "gpu"]
    parts = [
        select_pools(each["parameters"].get("pools", ["*"]), each["parameters"].get("exclude", []), names)
        for each in wanted
    ]
    assert sorted(name for each in parts for name in each.names) == names
    (tmp_path / "prefect.yaml").write_text(f"{text}\ndeployments:\n{yaml.safe_dump([part])}")
    (deployed,) = wanted_deployments(tmp_path / "prefect.yaml")
    assert (deployed.name, deployed.described["work_pool"]) == ("pool-preview/management-etl", management_pool())


def test_every_file_it_names_exists() -> None:
    for name in re.findall(r"`((?:flows|deployments|tests)/[\w./]+|prefect\.yaml)`", README):
        assert (ROOT / name).exists(), name


def test_every_picture_is_there_is_small_and_has_a_text_alternative() -> None:
    shown = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    shown += [(alternative, name) for name, alternative in re.findall(r'<img src="([^"]+)" alt="([^"]*)">', README)]
    assert [name for alternative, name in shown if len(alternative) < 40] == []
    names = {*(name for _, name in shown), *re.findall(r'srcset="([^"]+)"', README)}
    assert names == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.png")}
    assert [name for name in names if (ROOT / name).stat().st_size > 250_000] == []


def commands() -> list[tuple[str, dict[str, Any]]]:
    """Every run of a flow that the README tells how to start, with its parameters."""
    rows = table_below("From the command line to these flows")
    cells = [found[1] for row in rows if (found := re.match(r"`([^`]+)`", row[1]))]
    typed = re.findall(r"prefect deployment run (.+)$", README, re.MULTILINE)
    found = []
    for words in map(shlex.split, [*cells, *typed]):
        given = [word.split("=", 1) for word in words if "=" in word]
        found.append((words[0].removesuffix("/management"), {name: _json(value) for name, value in given}))
    return found


def _json(value: str) -> Any:
    """As the command line reads a value: JSON where it is some."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def test_every_command_that_replaces_another_is_one_that_its_flow_accepts() -> None:
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    flows = {flow_of(entry): str(ROOT / entry["entrypoint"]) for entry in entries}
    found = commands()
    assert {name for name, _ in found} == flows.keys() - {"pool-auto-pause"}
    for name, parameters in found:
        flow: Any = load_flow_from_entrypoint(flows[name], use_placeholder_flow=False)
        flow.validate_parameters(parameters)

"""What pool-reconcile exports, read back and planned: no difference, whatever is there."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policy.test_redaction import SHIPPED
from tests.rest import unique
from tests.server.test_commands import POOLKEEPER
from tests.server.yard import Yard, spec, template
from tests.strategies import CANARY, HOSTILE

pytestmark = pytest.mark.anyio


async def planned(yard: Yard, exported: Any, *names: str) -> str:
    """What a plan of these pools' part of an export says."""
    pools = [each for each in exported["pools"] if each["name"] in names]
    assert {each["name"] for each in pools} == set(names)
    yard.write(*pools)
    state = await yard.run(dry_run=True)
    return str(state.message)


def changed(kind: str) -> dict[str, Any]:
    """The default template of a type with another default of a variable."""
    made: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SHIPPED[kind]))
    made["variables"]["properties"]["env"]["default"] = {"MODE": "fast", "DB_PASSWORD": CANARY}
    return made


async def test_an_export_of_every_worker_type_that_ships_with_prefect_differs_in_nothing(yard: Yard) -> None:
    usual = {kind: yard.pool(yard.name(kind), type=kind, base_job_template=SHIPPED[kind]) for kind in SHIPPED}
    other = {kind: yard.pool(yard.name(kind), type=kind, base_job_template=changed(kind)) for kind in SHIPPED}
    empty = yard.pool(base_job_template={})
    agent = yard.pool(type="prefect-agent", base_job_template={})
    state = await yard.run(export=True)
    assert state.type.value == "COMPLETED"
    exported = yard.exported()
    by_name = {each["name"]: each for each in exported["pools"]}
    for kind in SHIPPED:
        assert by_name[usual[kind]]["base_job_template"] == "default"
        overrides = by_name[other[kind]]["base_job_template"]["overrides"]["env"]
        assert overrides["MODE"] == "fast"
        assert overrides["DB_PASSWORD"].startswith("[Poolkeeper: a secret was left out")
    assert (by_name[empty]["base_job_template"], by_name[agent]["base_job_template"]) == ("default", {"inline": {}})
    names = [*usual.values(), *other.values(), empty, agent]
    assert (await planned(yard, exported, *names)).startswith(f"Dry run: no drift: {len(names)} work pools")
    before = [yard.there(name) for name in names]
    await yard.run()
    assert [yard.there(name) for name in names] == before


async def test_names_descriptions_limits_and_queues_of_any_content_come_back(yard: Yard) -> None:
    texts = [
        *HOSTILE,
        "```\nfence\n````",
        "a: b",
        "- x",
        "yes",
        "2020-01-01",
        "#no",
        "é🐝\u2028\x85\ufeff",
        "'\"",
        "\t x \n",
    ]
    names = []
    for index, text in enumerate(texts):
        name = yard.pool(description=text, concurrency_limit=index % 3 or None, is_paused=index % 2 == 0)
        yard.queue(name, f"q | `{index}`: 🐝", priority=7, concurrency_limit=0, description=text)
        yard.change_queue(name, "default", priority=3, description="" if index % 2 else text)
        names.append(name)
    strange = yard.pool(unique("a | `b`: [c] # 'd' \"e\" 🐝"))
    yard.named.append(strange)
    await yard.run(export=True)
    exported = yard.exported()
    assert (await planned(yard, exported, *names, strange)).startswith("Dry run: no drift"), yard.reasons()
    assert all("is_paused" not in each for each in exported["pools"])


async def test_a_half_open_pool_is_exported_with_its_own_limit_and_without_the_note(yard: Yard) -> None:
    note = "[Poolkeeper: trying again since x. Former limit: none. Lease ab12.2]"
    name = yard.pool(description=f"{note}\n\nmine", concurrency_limit=1)
    await yard.run(export=True)
    exported = yard.exported()
    (written,) = [each for each in exported["pools"] if each["name"] == name]
    assert (written["description"], written["concurrency_limit"]) == ("mine", None)
    assert (await planned(yard, exported, name)).startswith("Dry run: no drift")


async def test_a_secret_that_was_left_out_is_kept_where_it_is_and_refused_where_there_is_none(yard: Yard) -> None:
    name, copy = yard.pool(base_job_template=template(DB_PASSWORD=CANARY, MODE="slow")), yard.name()
    await yard.run(export=True)
    (written,) = [each for each in yard.exported()["pools"] if each["name"] == name]
    written["base_job_template"]["inline"]["variables"]["properties"]["env"]["default"]["MODE"] = "fast"
    state = await yard.run(written)
    assert state.type.value == "COMPLETED"
    assert yard.there(name)["base_job_template"] == template(DB_PASSWORD=CANARY, MODE="fast")
    state = await yard.run(written | {"name": copy})
    assert state.type.value == "FAILED"
    assert "at variables.properties.env.default.DB_PASSWORD a secret was left out" in state.message
    assert not yard.exists(copy)


async def test_an_export_changes_nothing_and_needs_no_spec(yard: Yard) -> None:
    name = yard.pool(concurrency_limit=3)
    before = yard.there(name)
    state = await yard.run(export=True, spec="no/such/file.yaml", prune=True)
    assert state.message.startswith("Exported ")
    assert yard.there(name) == before


def poolkeeper_export(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [POOLKEEPER, "export"]
    return subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=120)


async def test_poolkeeper_export_writes_a_spec_and_nothing_else(
    yard: Yard, environment: dict[str, str], tmp_path: Path
) -> None:
    name = yard.pool(description=":bee: [red]x", base_job_template=template(DB_PASSWORD=CANARY))
    done = poolkeeper_export(environment)
    assert CANARY not in done.stdout + done.stderr
    assert done.stderr.endswith(" left out.\n")
    exported = yaml.safe_load(done.stdout)
    (written,) = [each for each in exported["pools"] if each["name"] == name]
    assert written["description"] == ":bee: [red]x"
    (tmp_path / "all.yaml").write_text(done.stdout)
    state = await yard.run(spec=str(tmp_path / "all.yaml"), dry_run=True)
    assert state.message.startswith("Dry run: no drift")


async def test_a_template_behind_the_types_present_default_is_told_with_what_it_lacks(yard: Yard) -> None:
    old = yaml.safe_load(yaml.safe_dump(SHIPPED["process"]))
    del old["variables"]["properties"]["working_dir"], old["job_configuration"]["working_dir"]
    name = yard.pool(base_job_template=old)
    await yard.run(spec(yard.pool()), dry_run=True)
    (line,) = [line for line in yard.page().splitlines() if name in line and "working_dir" in line]
    assert line.endswith("variables.working_dir, job_configuration.working_dir")
    await yard.run(spec(name, base_job_template="default"))
    assert name not in yard.page().partition("Templates behind")[2]
    assert "working_dir" in yard.there(name)["base_job_template"]["variables"]["properties"]


async def test_the_template_that_the_server_knows_and_the_one_of_the_installed_worker_are_both_the_default(
    yard: Yard,
) -> None:
    from prefect.workers.process import ProcessWorker  # noqa: PLC0415

    installed = ProcessWorker.get_default_base_job_template()
    assert installed != SHIPPED["process"]
    names = [yard.pool(base_job_template=each) for each in (installed, SHIPPED["process"])]
    new = yard.name()
    await yard.run(*(spec(name, base_job_template="default") for name in (*names, new)))
    assert {yard.verbs()[name] for name in names} == {("leave", "")}
    assert yard.there(new)["base_job_template"] == installed

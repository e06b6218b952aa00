"""Putting the flows onto a server: work pool, deployments, automations. What is there already is left as it is."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect.settings import get_current_settings

from deployments.project import (
    ROOT,
    ProjectProblem,
    WantedDeployment,
    management_pool,
    management_pool_spec,
    management_queues,
    management_type,
    wanted_automations,
    wanted_deployments,
)
from deployments.terminal import Terminal
from flows.policy.drift import differences
from flows.policy.override import OVERRIDES
from flows.policy.pool_spec import TemplateSpec
from flows.policy.reconcile.templates import wanted_templates
from flows.policy.words import counted
from flows.prefect_api import Api, automations, own
from flows.prefect_api.circuits import write_overrides
from flows.prefect_api.paging import Row
from flows.prefect_api.work_pools import read_pool
from flows.prefect_api.worker_types import read_defaults


async def install(api: Api, terminal: Terminal) -> dict[str, str]:
    """Everything that the keeper needs on a server. The ids of its deployments by `flow/deployment`."""
    await _pool(api, terminal)
    ids = await deploy(api, terminal, wanted_deployments())
    there = await automations.read_automations(api)
    for wanted in wanted_automations():
        block_id = await own.find_block(api, wanted.block) if wanted.block else None
        if wanted.block and block_id is None:
            terminal.done(f"automation {wanted.name}", f"waits for a block {wanted.block}")
            continue
        await _automation(api, terminal, wanted.name, wanted.resolved(ids, block_id), there.get(wanted.name, []))
    created = await write_overrides(api, {})
    terminal.done(f"variable {OVERRIDES}", "created" if created else "is there")
    return ids


async def deploy(api: Api, terminal: Terminal, wanted: Sequence[WantedDeployment]) -> dict[str, str]:
    """Deploy those that are missing or otherwise than written; what a person paused stays paused."""
    before = {each.name: await own.find_deployment(api, each.name) for each in wanted}
    stale = [each for each in wanted if drift(each, before[each.name])]
    if stale:
        with terminal.working(f"deploying {counted(len(stale), 'deployment')}"):
            await _prefect_deploy(stale)
    ids: dict[str, str] = {}
    for each in wanted:
        row = await own.find_deployment(api, each.name)
        if row is None:
            raise ProjectProblem(f"'prefect deploy' said it deployed {each.name!r}, but it is not there. Run again.")
        await own.forbid_unknown_parameters(api, row)
        await own.switch_off(api, row, *own.switched_off(before[each.name]))
        ids[each.name] = row["id"]
        done = "is as written" if each not in stale else ("updated" if before[each.name] else "created")
        terminal.done(f"deployment {each.name}", done)
    return ids


def drift(wanted: WantedDeployment, row: Row | None) -> tuple[str, ...]:
    """What of a deployment is otherwise than written; everything, where it is missing."""
    return ("missing",) if row is None else differences(wanted.described, own.described(row))


async def _pool(api: Api, terminal: Terminal) -> None:
    name = management_pool()
    pool = await read_pool(api, name)
    if pool is None:
        spec = await _pool_spec(api)
        await own.create_pool(api, name, spec)
        terminal.done(f"work pool {name}", f"created ({spec['type']})")
    else:
        terminal.done(f"work pool {name}", f"is there ({pool.type})")
    if made := await own.create_queues(api, name, management_queues()):
        terminal.done(f"work queues {', '.join(made)}", "created")


async def _pool_spec(api: Api) -> dict[str, Any]:
    """As written for a machine; of another worker type its own default template, with the same environment."""
    spec, type_ = management_pool_spec(), management_type()
    if type_ == spec["type"]:
        return spec
    defaults = await read_defaults(api)
    if type_ not in defaults:
        raise ProjectProblem(
            f"prefect.yaml: this server knows no worker type {type_!r} (definitions.management_type). "
            f"It knows {', '.join(sorted(defaults))}. Nothing was deployed."
        )
    environment = spec["base_job_template"]["variables"]["properties"]["env"]["default"]
    (template, *_) = wanted_templates(
        TemplateSpec(default=True, overrides={"env": environment}), type_, defaults[type_], None
    )
    return {**spec, "type": type_, "base_job_template": template}


async def _automation(api: Api, terminal: Terminal, name: str, body: dict[str, Any], existing: Sequence[Row]) -> None:
    if not existing:
        await automations.create_automation(api, body)
        outcome = "created"
    elif differences(automations.described(body), automations.described(existing[0])):
        await automations.replace_automation(api, existing[0], body)
        outcome = "updated"
    else:
        outcome = "is as written" + ("" if existing[0]["enabled"] else ", paused")
    terminal.done(f"automation {name}", outcome)


async def _prefect_deploy(stale: Sequence[WantedDeployment]) -> None:
    """Let Prefect deploy them, from a file that has only these."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prefect.yaml"
        path.write_text(yaml.safe_dump({"name": "poolkeeper", "deployments": [dict(each.entry) for each in stale]}))
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=child_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    if process.returncode:
        raise ProjectProblem(f"'prefect deploy' failed:\n{output.decode(errors='replace').strip()}")


def child_environment() -> dict[str, str]:
    """The environment of the processes that are started here: this one's, and the API that is in use."""
    return {**os.environ, "PREFECT_API_URL": str(get_current_settings().api.url)}

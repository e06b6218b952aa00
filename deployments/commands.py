"""What the commands do; each returns the exit code."""

import argparse
import sys

from deployments.demo import RemoteDemo
from deployments.doctor import examine
from deployments.install import install
from deployments.links import links
from deployments.preflight import ServerUnusable, preflight
from deployments.processes import ProcessEnded
from deployments.project import ProjectProblem
from deployments.server import api_in_use
from deployments.terminal import Terminal
from deployments.undo import list_archives, restore_archive
from deployments.up import FirstRunFailed, up
from flows.policy.bad_input import BadInput
from flows.policy.server_health import Check
from flows.policy.words import counted
from flows.prefect_api import ApiProblem, connect
from flows.reconciling import export_text, read_export

NO_API = (
    "Neither PREFECT_API_URL nor the active Prefect profile names an API. Name one with "
    "'prefect config set PREFECT_API_URL=...', or let 'poolkeeper up' start a server."
)


class NoApi(Exception):
    """There is no server to work with."""


# What a command line says in one message, without a stack trace.
PROBLEMS = (
    NoApi,
    ApiProblem,
    ProjectProblem,
    ServerUnusable,
    RemoteDemo,
    ProcessEnded,
    FirstRunFailed,
    BadInput,
    OSError,
)


async def up_command(options: argparse.Namespace, terminal: Terminal) -> int:
    await up(terminal, with_demo=options.demo, once=options.once, remote_demo=options.allow_remote_demo)
    return 0


async def deploy_command(_: argparse.Namespace, terminal: Terminal) -> int:
    with api_in_use() as url:
        if url is None:
            raise NoApi(NO_API)
        async with connect() as api:
            await preflight(api, terminal)
            await install(api, terminal)
            terminal.links(links(api))
    return 0


async def restore_command(options: argparse.Namespace, terminal: Terminal) -> int:
    with api_in_use() as url:
        if url is None:
            raise NoApi(NO_API)
        async with connect() as api:
            if options.name is None:
                await list_archives(api, terminal)
            else:
                await restore_archive(api, terminal, options.name)
    return 0


async def export_command(_: argparse.Namespace, __: Terminal) -> int:
    """The spec goes to the output as it is, so that it can go into a file."""
    with api_in_use() as url:
        if url is None:
            raise NoApi(NO_API)
        async with connect() as api:
            export = await read_export(api)
    sys.stdout.write(export_text(export))
    left_out = f", {counted(export.secrets, 'secret')} left out" if export.secrets else ""
    sys.stderr.write(f"Exported {counted(len(export.pools), 'work pool')}{left_out}.\n")
    return 0


async def doctor_command(_: argparse.Namespace, terminal: Terminal) -> int:
    with api_in_use() as url:
        checks = await _examine() if url is not None else (Check("Prefect API", "none is named", NO_API),)
    for check in checks:
        terminal.check(check)
    return 0 if all(check.is_well for check in checks) else 1


async def _examine() -> tuple[Check, ...]:
    try:
        async with connect() as api:
            return await examine(api)
    except ApiProblem as problem:
        return (Check("Prefect API", "cannot be used", str(problem)),)

"""What the commands do; each returns the exit code."""

import argparse

from deployments.demo import RemoteDemo
from deployments.doctor import examine
from deployments.install import install
from deployments.links import links
from deployments.preflight import ServerUnusable, preflight
from deployments.processes import ProcessEnded
from deployments.project import ProjectProblem
from deployments.server import api_in_use
from deployments.terminal import Terminal
from deployments.up import FirstRunFailed, up
from flows.policy.server_health import Check
from flows.prefect_api import ApiProblem, connect

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

"""Looking before anything is changed: can this server be used at all?"""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import prefect

from deployments.terminal import Terminal
from flows.policy.server_health import BREAKING, ServerFacts, check_server
from flows.prefect_api import Api, ApiProblem
from flows.prefect_api.server import read_version


class ServerUnusable(Exception):
    """This server cannot be administered; the message says why and what to do."""


async def observe_server(api: Api) -> ServerFacts:
    """What can be known of the API without knowing anything else."""
    facts = ServerFacts(api.address, prefect.__version__, packages=_packages())
    try:
        return replace(facts, server_version=await read_version(api))
    except ApiProblem as problem:
        return replace(facts, problem=str(problem))


async def preflight(api: Api, terminal: Terminal) -> None:
    """Raise `ServerUnusable` unless the API answers, accepts the credentials, and fits this client."""
    checks = check_server(await observe_server(api))
    bad = [check for check in checks if not check.is_well]
    if bad:
        raise ServerUnusable("\n".join(f"{check.what}: {check.found}. {check.todo}" for check in bad))
    terminal.done("preflight", "; ".join(check.found for check in checks))


def _packages() -> dict[str, str]:
    found = {}
    for name in BREAKING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""A small fleet with real workers and real runs: a pool that works, one that fails, one paused, one without worker."""

import ipaddress
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import anyio

from deployments.install import deploy
from deployments.processes import Child
from deployments.project import HERE, management_pool_spec, prefect_yaml, wanted_deployments
from deployments.terminal import Terminal
from deployments.waiting import until
from deployments.workers import others_online, worker
from flows.policy.lease import read_note
from flows.prefect_api import Api
from flows.prefect_api.circuits import write_overrides
from flows.prefect_api.flow_runs import count_runs, in_states, late, of_deployment
from flows.prefect_api.own import ENDED, create_pool, start_run
from flows.prefect_api.work_pools import read_pool

DEMO = HERE / "demo.yaml"
# SQLite takes one writer at a time: usually a minute, but seen to take four.
SECONDS_FOR_RUNS = 480
# Of each pool: every run is a process, and all of them write into one SQLite file.
RUNS_AT_ONCE = 2
# The pool that fails, and how long it stays paused: shorter than usual, so that it can be seen to recover.
FAILING = "demo-failing"
COOLDOWN_MINUTES = 1
FOLLOW_SECONDS = 2
# How far apart, and how long ago, the runs of a backlog should have started.
BACKLOG_STEP = timedelta(minutes=7)


class RemoteDemo(Exception):
    """The demo would make pools and runs on a server that is not this machine's."""


def check_address(address: str, *, allow_remote: bool) -> None:
    """Raise `RemoteDemo` unless the API is on loopback or the demo may go elsewhere."""
    host = urlsplit(address).hostname or ""
    if allow_remote or host == "localhost":
        return
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise RemoteDemo(
            f"--demo makes four work pools and some runs, and {address} is not on this machine. Nothing was changed. "
            "Use a server on loopback, or say --allow-remote-demo."
        )


async def start(stack: AsyncExitStack, api: Api, terminal: Terminal, *, own: bool) -> list[Child]:
    """The fleet, its workers, unless those belong to somebody else, and its first runs."""
    pools: Mapping[str, Mapping[str, Any]] = prefect_yaml(DEMO)["pools"]
    for name, wanted in pools.items():
        await _pool(api, terminal, name, wanted)
    ids = {name.partition("/")[2]: id_ for name, id_ in (await deploy(api, terminal, wanted_deployments(DEMO))).items()}
    children = []
    for name, wanted in pools.items():
        if wanted.get("worker") and own and not await others_online(api, name):
            with terminal.working(f"starting a worker for {name}"):
                children.append(await stack.enter_async_context(worker(api, name, limit=RUNS_AT_ONCE)))
    for name, wanted in pools.items():
        await _start_runs(api, ids[name], ended=wanted.get("runs", 0), overdue=wanted.get("backlog", 0))
    await write_overrides(api, {FAILING: {"cooldown_minutes": COOLDOWN_MINUTES}})
    await _wait_for_runs(api, terminal, pools, ids)
    terminal.done("demo fleet", ", ".join(pools))
    return children


async def follow(api: Api, terminal: Terminal) -> None:
    """Tell what auto-pause does to the failing pool, for as long as it does something."""
    told = ""
    while True:
        pool = await read_pool(api, FAILING)
        note = read_note(pool.description) if pool else None
        if note and note.tag != told:
            told = note.tag
            terminal.say(f"{FAILING}: {note.words}")
        elif pool and not note and told:
            limit = "no limit" if pool.concurrency_limit is None else f"its limit of {pool.concurrency_limit}"
            terminal.done(FAILING, f"recovered, back at {limit}")
            return
        await anyio.sleep(FOLLOW_SECONDS)


async def _pool(api: Api, terminal: Terminal, name: str, wanted: Mapping[str, Any]) -> None:
    if await read_pool(api, name) is not None:
        terminal.done(f"work pool {name}", "is there")
        return
    spec = {
        "type": "process",
        "description": "Part of Poolkeeper's demo fleet; may be deleted.",
        "concurrency_limit": wanted["concurrency_limit"],
        "is_paused": wanted.get("paused", False),
        "base_job_template": management_pool_spec()["base_job_template"],
    }
    await create_pool(api, name, spec)
    terminal.done(f"work pool {name}", "created")


async def _start_runs(api: Api, deployment_id: str, *, ended: int, overdue: int) -> None:
    """Have at least so many runs that ended or will, and so many that should have started by now."""
    now = await api.server_time()
    runs = of_deployment(deployment_id)
    for _ in range(ended - await count_runs(api, runs | {"start_time": {"is_null_": False}})):
        await start_run(api, deployment_id)
    waiting = in_states("SCHEDULED") | runs | {"expected_start_time": {"before_": now.isoformat()}}
    for number in range(overdue - await count_runs(api, waiting)):
        await start_run(api, deployment_id, scheduled_at=(now - BACKLOG_STEP * (number + 1)).isoformat())


async def _wait_for_runs(
    api: Api, terminal: Terminal, pools: Mapping[str, Mapping[str, Any]], ids: Mapping[str, str]
) -> None:
    wanted = sum(pool.get("runs", 0) + pool.get("backlog", 0) for pool in pools.values())
    with terminal.working("running the demo's flows") as tell:

        async def settled() -> bool:
            count = 0
            for name, pool in pools.items():
                runs = of_deployment(ids[name])
                count += min(pool.get("runs", 0), await count_runs(api, in_states(*ENDED) | runs))
                count += min(pool.get("backlog", 0), await count_runs(api, late() | runs))
            tell(f"running the demo's flows: {count} of {wanted} have ended or wait in vain")
            return bool(count == wanted)

        if not await until(settled, seconds=SECONDS_FOR_RUNS, every=1):
            terminal.warn(f"the demo's flows take longer than {SECONDS_FOR_RUNS} s; going on without them")

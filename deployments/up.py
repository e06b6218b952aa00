"""`poolkeeper up`: everything between a fresh clone and a Prefect server that administers itself."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import demo
from deployments.install import install
from deployments.links import links, run_link
from deployments.preflight import preflight
from deployments.processes import Child
from deployments.project import management_pool
from deployments.server import SECONDS_TO_START, Lock, RunningUp, api_url, embedded
from deployments.terminal import Terminal
from deployments.waiting import until
from deployments.workers import others_online, worker
from flows.policy.facts import RunFacts
from flows.prefect_api import Api, connect
from flows.prefect_api.own import NotStarted, follow_run, read_report, start_run
from flows.prefect_api.work_pools import read_pool

# What is run once at the start, and how its table is shown; of a cleanup, which only plans, its verdict says enough.
FIRST_JOBS = {"pool-inventory": Terminal.inventory, "pool-preview": Terminal.preview, "pool-cleanup": None}
ONLY_LOOK: dict[str, dict[str, Any]] = {"pool-cleanup": {"dry_run": True}}
# A worker asks for work every few seconds, and a process takes a few to start.
SECONDS_TO_BEGIN = 120
AUTO_PAUSE = "pool-auto-pause"
COMPLETED = "COMPLETED"


class FirstRunFailed(Exception):
    """One of the first runs did not complete."""


async def up(terminal: Terminal, *, with_demo: bool, once: bool, remote_demo: bool) -> None:
    """Start what is missing, look once, and stay until interrupted (`once`: do not stay)."""
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(Lock().taken())
        children = await _server(stack, terminal, lock)
        api = await stack.enter_async_context(connect())
        if with_demo:
            demo.check_address(api.address, allow_remote=remote_demo)
        await preflight(api, terminal)
        ids = await install(api, terminal)
        children += await _worker(stack, api, terminal, lock)
        pages: dict[str, str] = {}
        if with_demo:
            children += await demo.start(stack, api, terminal, own=lock.is_mine)
            pages = await _auto_pause(api, terminal, ids)
        pages |= await _first_reports(api, terminal, ids)
        terminal.links(links(api, pages))
        if not once:
            if with_demo:
                stack.callback(asyncio.ensure_future(demo.follow(api, terminal)).cancel)
            await _stay(terminal, children)
        if children:
            terminal.say("Stopping what was started …")


async def _server(stack: AsyncExitStack, terminal: Terminal, lock: Lock) -> list[Child]:
    """Use the API that is named, or the one of an `up` that runs already, or start one."""
    named = api_url()
    if named is not None:
        lock.write(named)
        return []
    if not lock.is_mine and (other := await _holder(lock)):
        terminal.done("poolkeeper up", f"runs already (process {other.pid}); using its server and workers")
        stack.enter_context(temporary_settings({PREFECT_API_URL: other.api_url}))
        return []
    server = await stack.enter_async_context(embedded(terminal))
    lock.write(str(api_url()))
    return [server]


async def _holder(lock: Lock) -> RunningUp | None:
    """The other `up`, which says so once its server answers."""

    async def ask() -> RunningUp | None:
        return lock.holder()

    return await until(ask, seconds=SECONDS_TO_START)


async def _worker(stack: AsyncExitStack, api: Api, terminal: Terminal, lock: Lock) -> list[Child]:
    name = management_pool()
    pool = await read_pool(api, name)
    others = await others_online(api, name)
    if others:
        terminal.done(f"worker of {name}", f"is online ({', '.join(others)})")
        return []
    if (other := lock.holder()) and other.api_url.rstrip("/") == api.address:
        terminal.done(f"worker of {name}", f"belongs to process {other.pid}")
        return []
    if pool is not None and pool.type != "process":
        terminal.warn(f"{name} is a {pool.type} pool: start its worker where its runs shall run. Waiting for it.")
        return []
    with terminal.working(f"starting a worker for {name}"):
        child = await stack.enter_async_context(worker(api, name))
    terminal.done(f"worker of {name}", "online")
    return [child]


async def _auto_pause(api: Api, terminal: Terminal, ids: Mapping[str, str]) -> dict[str, str]:
    """Have the demo's failing pool looked at, in case no automation was quicker. The id of the report's page."""
    run_id = await start_run(api, ids[f"{AUTO_PAUSE}/management"], parameters={"pools": [demo.FAILING]})
    await _follow(api, terminal, AUTO_PAUSE, run_id)
    return {AUTO_PAUSE: (await read_report(api, run_id, f"{AUTO_PAUSE}-{demo.FAILING}")).page_id}


async def _first_reports(api: Api, terminal: Terminal, ids: Mapping[str, str]) -> dict[str, str]:
    """One run of each job that only looks, through the worker, with its table. The ids of their reports' pages."""
    runs = {job: await start_run(api, ids[f"{job}/management"], parameters=ONLY_LOOK.get(job)) for job in FIRST_JOBS}
    pages = {}
    for job, run_id in runs.items():
        await _follow(api, terminal, job, run_id)
        report = await read_report(api, run_id, job)
        if show := FIRST_JOBS[job]:
            terminal.say()
            show(terminal, report.rows)
            terminal.say()
        pages[job] = report.page_id
    return pages


async def _follow(api: Api, terminal: Terminal, job: str, run_id: str) -> None:
    def tell(run: RunFacts) -> None:
        if not terminal.console.is_terminal:
            terminal.say(f"  {run.name}: {run.state_name}")

    with terminal.working(f"running {job} ({run_link(api, run_id)})"):
        try:
            run, message = await follow_run(api, run_id, tell, seconds_to_start=SECONDS_TO_BEGIN)
        except NotStarted as problem:
            raise FirstRunFailed(f"{problem} 'poolkeeper doctor' says why. See {run_link(api, run_id)}") from None
    if run.state_type != COMPLETED:
        raise FirstRunFailed(f"{job} ended as {run.state_name}: {message}\nSee {run_link(api, run_id)}")
    terminal.done(job, message)


async def _stay(terminal: Terminal, children: list[Child]) -> None:
    """Until interrupted, or until something that was started ends by itself."""
    terminal.say("Up. Stop with Ctrl-C." if children else "Up; nothing had to be started. Leave with Ctrl-C.")
    if not children:
        await asyncio.Event().wait()
    done, pending = await asyncio.wait(
        [asyncio.ensure_future(child.ended()) for child in children], return_when=asyncio.FIRST_COMPLETED
    )
    for task in pending:
        task.cancel()
    raise done.pop().result()

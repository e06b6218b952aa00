"""Workers for the length of a command."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from deployments.install import child_environment
from deployments.processes import Child, running
from deployments.waiting import until
from flows.prefect_api import Api
from flows.prefect_api.work_pools import read_workers

# One name a machine: a worker that comes back takes up its row on the server instead of adding one.
OWN_NAME: Final = f"poolkeeper-{socket.gethostname()}"
SECONDS_TO_START = 60


@asynccontextmanager
async def worker(api: Api, pool: str, *, limit: int | None = None) -> AsyncIterator[Child]:
    """A worker of an existing pool, online before the block begins."""
    before = await _last_heartbeat(api, pool)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", OWN_NAME]
    command += ["--no-create-pool-if-not-found"] + ([] if limit is None else ["--limit", str(limit)])
    async with running(f"worker of {pool}", command, env=child_environment()) as child:

        async def settled() -> bool:
            return not child.is_running or await _last_heartbeat(api, pool) != before

        await until(settled, seconds=SECONDS_TO_START)
        if not child.is_running:
            raise await child.ended()
        yield child


async def others_online(api: Api, pool: str) -> list[str]:
    """Workers of the pool that are online and not this machine's own."""
    now = await api.server_time()
    workers = (await read_workers(api, [pool]))[pool] or []
    return [each.name for each in workers if each.is_online(now) and each.name != OWN_NAME]


async def _last_heartbeat(api: Api, pool: str) -> object:
    workers = (await read_workers(api, [pool]))[pool] or []
    return next((each.last_heartbeat_at for each in workers if each.name == OWN_NAME), None)

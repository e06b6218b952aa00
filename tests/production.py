"""A server as people run it in production: two API servers behind one address, services apart, Redis between them."""

import asyncio
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle

from tests.processes import PREFECT, answering, free_port, start_server, started, stop

API_SERVERS = 2
# What it consists of, as commands of Prefect.
UPGRADE = ("server", "database", "upgrade", "-y")
SERVICES = ("server", "services", "start")


@contextmanager
def running_apart(environment: Mapping[str, str], *options: str) -> Iterator[str]:
    """The address of the API for the length of the block. `environment` names a Postgres database."""
    with ExitStack() as stack:
        port = stack.enter_context(_redis())
        shared = dict(environment) | redis_settings(f"redis://127.0.0.1:{port}/0")
        subprocess.run([*PREFECT, *UPGRADE], check=True, env=shared, capture_output=True)
        ports = [stack.enter_context(_api_server(shared, *options)) for _ in range(API_SERVERS)]
        stack.enter_context(started([*PREFECT, *SERVICES], shared))
        url = environment["PREFECT_API_URL"]
        stack.enter_context(_balanced(int(url.removesuffix("/api").rpartition(":")[2]), ports))
        yield url


def redis_settings(url: str) -> dict[str, str]:
    """What each process of the server is told, so that all of them share events, their order, leases and tasks."""
    return {
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_URL": url,
        "PREFECT_SERVER_DOCKET_URL": url,
    }


@contextmanager
def _redis() -> Iterator[int]:
    """The port of a Redis of its own, which keeps nothing."""
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        raise RuntimeError("There is no program 'redis-server': apt-get install redis-server.")
    with started([program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]) as process:
        answering(lambda: _accepts(port), process, "Redis")
        yield port


@contextmanager
def _api_server(environment: Mapping[str, str], *options: str) -> Iterator[int]:
    port = free_port()
    url = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    server = start_server(dict(environment) | url, "--no-services", *options)
    try:
        yield port
    finally:
        stop(server)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextmanager
def _balanced(port: int, targets: Sequence[int]) -> Iterator[None]:
    """Connections to the port go to the targets in turn, as behind a load balancer."""
    loop, turn = asyncio.new_event_loop(), cycle(targets)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", next(turn))
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    listener = loop.run_until_complete(asyncio.start_server(forward, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end(listener), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _end(listener: asyncio.Server) -> None:
    listener.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
    with suppress(OSError):
        writer.close()

"""An embedded Prefect server for those who have none: SQLite, loopback, first free port."""

import fcntl
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from deployments.processes import Child, ProcessEnded, running
from deployments.terminal import Terminal
from deployments.waiting import until

FIRST_PORT = 4200
PORTS_TRIED = 100
SECONDS_TO_START = 120
LOOPBACK = "127.0.0.1"


def api_url() -> str | None:
    """The API that the environment or the active Prefect profile names, if any does."""
    return get_current_settings().api.url


@dataclass(frozen=True, slots=True)
class RunningUp:
    """A `poolkeeper up` that runs now: its process id, and the API it uses."""

    pid: int
    api_url: str


class Lock:
    """Held by the `up` that runs with this PREFECT_HOME; the file says which API that one uses.

    The operating system releases it when its holder dies, however it dies.
    """

    def __init__(self) -> None:
        self.path = Path(get_current_settings().home) / "poolkeeper.lock"
        self.is_mine = False

    @contextmanager
    def taken(self) -> Iterator["Lock"]:
        """Hold the lock for the length of the block, if nobody else does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.is_mine = True
            except BlockingIOError:
                self.is_mine = False
            try:
                yield self
            finally:
                if self.is_mine:
                    self.path.unlink(missing_ok=True)

    def write(self, url: str) -> None:
        if self.is_mine:
            self.path.write_text(json.dumps({"pid": os.getpid(), "api_url": url}))

    def holder(self) -> RunningUp | None:
        """Whoever else holds it, once that one has said which API it uses."""
        try:
            with self.path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return None if self.is_mine else RunningUp(**json.load(file))
        except (OSError, ValueError, TypeError):
            return None
        return None


@contextmanager
def api_in_use() -> Iterator[str | None]:
    """The API that is named, or else that of a running `up`, as Prefect's API for the length of the block."""
    named = api_url()
    running_up = Lock().holder() if named is None else None
    if running_up is None:
        yield named
        return
    with temporary_settings({PREFECT_API_URL: running_up.api_url}):
        yield running_up.api_url


@asynccontextmanager
async def embedded(terminal: Terminal) -> AsyncIterator[Child]:
    """Start a server, and use it as Prefect's API for the length of the block."""
    port = free_port()
    if port != FIRST_PORT and await is_prefect(f"http://{LOOPBACK}:{FIRST_PORT}/api"):
        terminal.warn(
            f"A Prefect server already answers on port {FIRST_PORT}, but no setting names it. "
            f"To use that one: prefect config set PREFECT_API_URL=http://{LOOPBACK}:{FIRST_PORT}/api"
        )
    url = f"http://{LOOPBACK}:{port}/api"
    # Without this the pages would ask port 4200, whoever answers there.
    environment = {**os.environ, "PREFECT_UI_API_URL": url}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    async with running("Prefect server", command, env=environment) as server:
        with terminal.working(f"starting a Prefect server on port {port}"):
            await _until_healthy(url, server)
        with temporary_settings({PREFECT_API_URL: url}):
            terminal.done("Prefect server", f"started on {url.removesuffix('/api')}")
            yield server


def free_port(first: int = FIRST_PORT) -> int:
    for port in range(first, first + PORTS_TRIED):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(
        f"No free port from {first} to {first + PORTS_TRIED - 1} on {LOOPBACK}. Stop something that uses one."
    )


async def is_prefect(url: str) -> bool:
    """Whether a Prefect API answers there."""
    try:
        async with httpx.AsyncClient(timeout=2) as client:
            answer = await client.get(f"{url}/health")
            return answer.status_code == httpx.codes.OK and answer.json() is True
    except (httpx.HTTPError, ValueError):
        return False


async def _until_healthy(url: str, server: Child) -> None:
    async def settled() -> bool:
        return not server.is_running or await is_prefect(url)

    if not await until(settled, seconds=SECONDS_TO_START):
        raise ProcessEnded(f"No answer from the server in {SECONDS_TO_START} s. Its last words:\n{server.last_words()}")
    if not server.is_running:
        raise await server.ended()

"""Processes that tests start: on free ports, waited for until they answer, stopped."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFECT = (sys.executable, "-m", "prefect")
SERVER = ("server", "start")
ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 300
STOP_SECONDS = 30
FLOW = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from prefect.flows import load_flow_from_entrypoint
flow = load_flow_from_entrypoint({entrypoint!r}, use_placeholder_flow=False)
state = asyncio.run(flow(**json.loads(sys.argv[1]), return_state=True))
print(state.type.value, state.name, state.message)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A process that nobody listens to, in this environment or in that of the tests."""
    output = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment and dict(environment), stdout=output, stderr=output)


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Such a process for the length of the block."""
    process = start(command, environment)
    try:
        yield process
    finally:
        stop(process)


def is_healthy(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start_server(environment: Mapping[str, str], *options: str) -> subprocess.Popen[bytes]:
    """A server that answers; stop it with `stop`."""
    api_url = environment["PREFECT_API_URL"]
    port = api_url.removesuffix("/api").rpartition(":")[2]
    server = start([*PREFECT, *SERVER, "--host", "127.0.0.1", "--port", port, *options], environment)
    answering(lambda: is_healthy(api_url), server, f"the server at {api_url}")
    return server


def answering(answers: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until it answers; where it does not, it is stopped."""
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise RuntimeError(f"{what} did not start")
        time.sleep(0.2)


def flow_process(entry: str, parameters: Mapping[str, Any], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """A flow in a process of its own, which a test may kill; `entry` is the name of its file and of its function."""
    code = FLOW.format(root=str(ROOT), entrypoint=f"{ROOT}/flows/{entry}.py:{entry}")
    command = [sys.executable, "-c", code, json.dumps(parameters)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(environment), stdout=pipe, stderr=subprocess.STDOUT, text=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""Processes that tests start: on free ports, waited for until they answer, stopped."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable

PREFECT = (sys.executable, "-m", "prefect")
START_SECONDS = 300
STOP_SECONDS = 30


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answering(answers: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until it answers; where it does not, it is stopped."""
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise RuntimeError(f"{what} did not start")
        time.sleep(0.2)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

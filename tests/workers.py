"""Real workers for tests and benchmarks."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes import PREFECT, stop


@contextmanager
def working(pool: str, environment: dict[str, str], *, poll_seconds: float = 1) -> Iterator[None]:
    """A worker of the pool for the length of the block, which asks for work more often than is usual."""
    command = [*PREFECT, "worker", "start", "--pool", pool, "--name", "worker", "--type", "process"]
    quick = {"PREFECT_WORKER_QUERY_SECONDS": str(poll_seconds)}
    output = subprocess.DEVNULL
    worker = subprocess.Popen(command, env=environment | quick, stdout=output, stderr=output)
    try:
        yield
    finally:
        stop(worker)

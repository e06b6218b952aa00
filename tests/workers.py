"""Real workers for tests and benchmarks."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes import PREFECT, started


@contextmanager
def working(pool: str, environment: dict[str, str], *, poll_seconds: float = 1) -> Iterator[None]:
    """A worker of the pool for the length of the block, which asks for work more often than is usual."""
    command = [*PREFECT, "worker", "start", "--pool", pool, "--name", "worker", "--type", "process"]
    quick = {"PREFECT_WORKER_QUERY_SECONDS": str(poll_seconds)}
    with started(command, environment | quick):
        yield

"""Prefect's command line as a way of doing a job: a process for each command."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from tests.benchmarks.measure import Measurement, Setting, peak_mb
from tests.processes import PREFECT

# It is really run for so many pools.
MEASURED_POOLS = 5


def measure_commands(
    setting: Setting, once: Sequence[Sequence[str]], for_each_pool: Sequence[Sequence[str]]
) -> Measurement:
    """What these `prefect work-pool` commands take; the name of a pool is put after each of the latter."""
    subprocess.run([sys.executable, "-c", "import prefect"], check=True)
    import_mb = peak_mb(resource.RUSAGE_CHILDREN)
    pools = setting.size.pools
    names = [f"pool-{pool:04d}" for pool in range(min(pools, MEASURED_POOLS))]
    once_seconds = sum(_seconds(command) for command in once)
    pool_seconds = sum(_seconds([*command, name]) for name in names for command in for_each_pool)
    return Measurement(
        requests=None,
        seconds=once_seconds + pool_seconds * pools / len(names),
        peak_mb=peak_mb(resource.RUSAGE_CHILDREN),
        import_mb=import_mb,
        note=", ".join(_notes(len(once) + pools * len(for_each_pool), len(names), pools)),
    )


def _seconds(arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run([*PREFECT, "work-pool", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _notes(processes: int, measured: int, pools: int) -> Iterator[str]:
    yield f"{processes} processes"
    if measured < pools:
        yield f"extrapolated from {measured} of {pools} work pools"
    yield "it tells less than the others do"

"""What every benchmark does: a filled server, each way in a process of its own, and a table of what they took.

Nothing heavy is imported at the top of this module or of a benchmark: on Linux a process starts with the peak memory
of the one that started it, and each way's peak is to be its own.
"""

# ruff: noqa: PLC0415

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.servers import PREFECT

ROOT = Path(__file__).parents[2]
DEPLOYMENTS_PER_POOL = 10
# A server to measure against, without the background services: their work would be measured too.
UNDISTURBED = ("--no-services", "--no-ui")

Totals = dict[str, int]


@dataclass(frozen=True)
class Measurement:
    """`totals` are sums over all pools: two ways are comparable only where these are equal.

    `parts` says where the seconds went, where a way tells its parts apart.
    """

    requests: int | None
    seconds: float
    peak_mb: float
    import_mb: float
    totals: Totals
    note: str = ""
    parts: dict[str, float] = field(default_factory=dict)


# In the process that is measured.


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def measure_in_this_process(observe: Callable[[], Coroutine[Any, Any, tuple[int, Totals]]]) -> Measurement:
    import prefect  # noqa: F401

    import_mb = peak_mb()
    started = time.perf_counter()
    requests, totals = asyncio.run(observe())
    seconds = time.perf_counter() - started
    return Measurement(requests, seconds, peak_mb(), import_mb, totals)


def peak_mb_of_importing_prefect() -> float:
    """The peak of a process of its own; asked first, before this process has started any other."""
    subprocess.run([sys.executable, "-c", "import prefect"], check=True)
    return peak_mb(resource.RUSAGE_CHILDREN)


def cli_note(processes: int, pools: int, measured_pools: int) -> str:
    note = f"{processes} processes"
    if measured_pools == pools:
        return note
    return f"{note}; extrapolated linearly from {measured_pools} of {pools} pools"


# Around it.


def make_database(url: str, environment: Mapping[str, str], pools: int, runs_per_pool: int) -> None:
    upgrade = [*PREFECT, "server", "database", "upgrade", "-y"]
    subprocess.run(upgrade, check=True, env=dict(environment), stdout=subprocess.DEVNULL)
    fill = [sys.executable, "-m", "tests.benchmarks.fill", "--url", url]
    numbers = {"--pools": pools, "--deployments": pools * DEPLOYMENTS_PER_POOL, "--runs": pools * runs_per_pool}
    options = [str(part) for option in numbers.items() for part in option]
    subprocess.run([*fill, *options], check=True, env=dict(environment), cwd=ROOT, stdout=sys.stderr)


def measure_in_new_process(
    benchmark: str, way: str, options: Mapping[str, object], environment: Mapping[str, str]
) -> Measurement | None:
    """None where it failed; the process has said why."""
    words = [str(part) for option in options.items() for part in option]
    command = [sys.executable, "-m", benchmark, "--measure", way, *words]
    process = subprocess.run(command, check=False, env=dict(environment), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        return None
    print(f"{options['--pools']} pools, {way}: {process.stdout.strip()}", file=sys.stderr)
    return Measurement(**json.loads(process.stdout.splitlines()[-1]))


def summary(rounds: list[Measurement | None]) -> Measurement | None:
    """The median of the times and the highest peak; None where any round failed."""
    measured = [measurement for measurement in rounds if measurement is not None]
    if len(measured) < len(rounds):
        return None
    return replace(
        measured[-1],
        seconds=statistics.median(measurement.seconds for measurement in measured),
        peak_mb=max(measurement.peak_mb for measurement in measured),
        parts={part: statistics.median(each.parts[part] for each in measured) for part in measured[-1].parts},
    )


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for cells in (headings, ("---",) * len(headings), *rows):
        print(f"| {' | '.join(cells)} |")

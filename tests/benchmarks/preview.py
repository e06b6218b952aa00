"""Measure what a preview costs, beside the least that its requests cost, and beside the CLI.

    python -m tests.benchmarks.preview --pools 200 --rounds 3 --hours 24

One server on loopback, on a new SQLite database or on the empty one that `--url` names. Each way runs in a new
process, which prints one line of JSON.

poolkeeper  What the flow does, from reading the pools to the last row of the report, without publishing it. It runs
            once unmeasured before: its requests are noted down, and the server is warm for every way.
floor       The same requests, word for word, sent by bare httpx, eight at once. It knows beforehand what to ask, so no
            page waits for the one before, and it does not even unpack the answers: nobody gets them faster. It is not
            a floor for somebody who needs other requests.
cli         `prefect work-pool preview` for some of the pools, extrapolated to all. It tells less: only runs that exist
            already, at most as many as the pool has free slots, none of a paused pool, whatever the hours; no queue,
            no deployment's name, no verdict. It is measured last, because it marks queues and deployments as ready.
"""

# ruff: noqa: PLC0415

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.benchmarks.measure import (
    DEPLOYMENTS_PER_POOL,
    UNDISTURBED,
    Measurement,
    Totals,
    cli_note,
    make_database,
    measure_in_new_process,
    peak_mb,
    peak_mb_of_importing_prefect,
    print_table,
    summary,
)
from tests.database import database_url
from tests.servers import PREFECT, free_port, prefect_environment, running_server

if TYPE_CHECKING:
    import httpx

    from flows.policy.foreseen import Preview
    from flows.prefect_api.client import Api
    from flows.report.page import Report

AT_ONCE = 8
# Eight pages of deployments at once keep a server busy for longer than httpx waits by itself.
TIMEOUT_SECONDS = 300
MEGABYTE = 1e6

# Method, path, body.
Request = tuple[str, str, dict[str, Any] | None]


@contextmanager
def timed(parts: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    parts[part] = time.perf_counter() - started


# (a) Poolkeeper.


@dataclass
class Recording:
    """What was asked, in the order of asking, and how long the answers were, as they came and unpacked."""

    requests: list[Request] = field(default_factory=list)
    received_bytes: int = 0
    unpacked_bytes: int = 0


@contextmanager
def recorded() -> Iterator[Recording]:
    """Whatever Poolkeeper asks meanwhile."""
    from flows.prefect_api.client import Api

    send, recording = Api._send, Recording()

    async def send_recorded(api: "Api", method: Any, path: str, body: dict[str, Any] | None) -> "httpx.Response":
        recording.requests.append((method, path, body))
        answer = await send(api, method, path, body)
        recording.received_bytes += answer.num_bytes_downloaded
        recording.unpacked_bytes += len(answer.content)
        return answer

    with patch.object(Api, "_send", send_recorded):
        yield recording


async def preview_with_poolkeeper(hours: int, parts: dict[str, float], found: "list[tuple[Preview, Report]]") -> None:
    """The preview is put into `found`: Python 3.11 ends `asyncio.run` with writing out all of what it returns."""
    from flows.policy.foreseen import Question
    from flows.policy.preview import foresee
    from flows.policy.selection import select_pools
    from flows.prefect_api import connect
    from flows.prefect_api.upcoming import observe_upcoming
    from flows.prefect_api.work_pools import read_pools
    from flows.report.preview import preview_report

    question = Question(hours, "UTC", acceptable_wait_minutes=5)
    async with connect() as api:
        with timed(parts, "observe"):
            now = await api.server_time()
            every_pool = await read_pools(api)
            selection = select_pools(["*"], [], [pool.name for pool in every_pool])
            facts = await observe_upcoming(api, every_pool, selection, now=now, until=question.until(now))
        with timed(parts, "foresee"):
            foreseen = foresee(facts, question)
        with timed(parts, "report"):
            report = preview_report(foreseen, "pool-preview")
    found.append((foreseen, report))


def measure_poolkeeper(hours: int, requests_file: Path) -> Measurement:
    """Importing Poolkeeper is not among the seconds, as importing Prefect is not; it is told apart."""
    import prefect  # noqa: F401

    import_mb = peak_mb()
    parts: dict[str, float] = {}
    with timed(parts, "imports"):
        import flows.policy.preview
        import flows.prefect_api.upcoming
        import flows.report.preview  # noqa: F401
    found: list[tuple[Preview, Report]] = []
    with recorded() as recording, timed(parts, "all"):
        asyncio.run(preview_with_poolkeeper(hours, parts, found))
    measured = Measurement(
        requests=len(recording.requests),
        seconds=parts.pop("all"),
        peak_mb=peak_mb(),
        import_mb=import_mb,
        totals={"received_bytes": recording.received_bytes, "unpacked_bytes": recording.unpacked_bytes},
        parts=parts,
    )
    requests_file.write_text(json.dumps(recording.requests))
    return replace(measured, totals=measured.totals | checked_totals(*found[0]))


def checked_totals(foreseen: "Preview", report: "Report") -> Totals:
    expected = rows_of_the_fill(foreseen)
    if len(report.rows) != expected:
        sys.exit(f"The preview has {len(report.rows)} rows, the fill makes {expected}.")
    return {
        "pools": len(foreseen.pools),
        "deployments": len(foreseen.facts.deployments),
        "rows": len(report.rows),
        "rows_of_the_fill": expected,
        **Counter(str(row["source"]) for row in report.rows),
        **Counter(str(row["verdict"]) for row in report.rows),
    }


def rows_of_the_fill(foreseen: "Preview") -> int:
    """How many rows the preview must have: the dates of every schedule, and what waits from before.

    Every schedule is hourly. What waits is what the fill made late, and its future runs that have become due since;
    when that was, the pools' creation tells.
    """
    from tests.benchmarks import fill

    now, hours, pools = foreseen.facts.now, foreseen.question.hours, len(foreseen.pools)
    size = fill.Size(pools, pools * DEPLOYMENTS_PER_POOL, runs=0)
    created_at = foreseen.pools[0].state.pool.created_at
    assert created_at is not None
    filled_at = created_at + 2 * fill.HISTORY
    # Both ends of the time looked at are included: who is due at once is due once more at its end.
    at_both_ends = sum(is_due(deployment, now) for deployment in range(size.deployments))
    late = fill.LATE_RUNS_PER_BLOCKED_POOL * sum(map(fill.is_blocked, range(pools)))
    overdue = sum(run.scheduled_at < now for run in fill.future_runs(size, filled_at))
    return size.deployments * hours + at_both_ends + late + overdue


def is_due(deployment: int, now: datetime) -> bool:
    from tests.benchmarks.fill import next_date

    return next_date(deployment, now - timedelta(seconds=1)) == now


# (b) The floor.


async def send_all(requests: list[Request]) -> int:
    """How many bytes the answers have, as they come."""
    import httpx

    received_bytes = 0
    left = iter(requests)

    async def send_the_next(client: httpx.AsyncClient) -> None:
        nonlocal received_bytes
        for method, path, body in left:
            async with client.stream(method, path, json=body) as answer:
                answer.raise_for_status()
                async for _ in answer.aiter_raw():
                    pass
                received_bytes += answer.num_bytes_downloaded

    async with httpx.AsyncClient(base_url=os.environ["PREFECT_API_URL"], timeout=TIMEOUT_SECONDS) as client:
        await asyncio.gather(*(send_the_next(client) for _ in range(AT_ONCE)))
    return received_bytes


def measure_floor(requests_file: Path) -> Measurement:
    import httpx  # noqa: F401

    requests = json.loads(requests_file.read_text())
    import_mb = peak_mb()
    started = time.perf_counter()
    received_bytes = asyncio.run(send_all(requests))
    seconds = time.perf_counter() - started
    totals = {"received_bytes": received_bytes}
    return Measurement(len(requests), seconds, peak_mb(), import_mb, totals, "above `import httpx`")


# (c) The CLI, a process per pool.


def measure_cli(hours: int, pools: int, measured_pools: int) -> Measurement:
    import_mb = peak_mb_of_importing_prefect()
    names = [f"pool-{pool:04d}" for pool in range(min(pools, measured_pools))]
    started = time.perf_counter()
    rows = sum(rows_printed(hours, name) for name in names)
    seconds = time.perf_counter() - started
    return Measurement(
        requests=None,
        seconds=seconds * pools / len(names),
        peak_mb=peak_mb(resource.RUSAGE_CHILDREN),
        import_mb=import_mb,
        totals={"pools": len(names), "rows": rows},
        note=f"{cli_note(pools, pools, len(names))}, for which it prints {rows} rows",
    )


def rows_printed(hours: int, pool: str) -> int:
    command = [*PREFECT, "work-pool", "preview", "--hours", str(hours), pool]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return sum(line.startswith("│") for line in process.stdout.splitlines())


# All ways in turn.

BENCHMARK = "tests.benchmarks.preview"
WAYS = ("poolkeeper", "floor", "cli")


def measure_here(arguments: argparse.Namespace) -> Measurement:
    if arguments.measure == "poolkeeper":
        return measure_poolkeeper(arguments.hours, arguments.requests)
    if arguments.measure == "floor":
        return measure_floor(arguments.requests)
    return measure_cli(arguments.hours, arguments.pools, arguments.cli_pools)


def measure_all(arguments: argparse.Namespace) -> dict[str, Measurement | None]:
    with tempfile.TemporaryDirectory(prefix="poolkeeper-benchmark-") as name:
        directory = Path(name)
        url = arguments.url or database_url(directory)
        environment = prefect_environment(directory, free_port()) | {"PREFECT_API_DATABASE_CONNECTION_URL": url}
        make_database(url, environment, arguments.pools, arguments.runs_per_pool)
        options = {
            "--pools": arguments.pools,
            "--hours": arguments.hours,
            "--cli-pools": arguments.cli_pools,
            "--requests": directory / "requests.json",
        }
        reading = [way for way in arguments.ways if way != "cli"]
        changing = [way for way in arguments.ways if way == "cli"]
        rounds: dict[str, list[Measurement | None]] = {way: [] for way in (*reading, *changing)}
        with running_server(environment, *UNDISTURBED):
            if reading:
                measure_in_new_process(BENCHMARK, "poolkeeper", options, environment)
            for way in (*reading * arguments.rounds, *changing * arguments.rounds):
                rounds[way].append(measure_in_new_process(BENCHMARK, way, options, environment))
    return {way: summary(measurements) for way, measurements in rounds.items()}


# The table.

HEADINGS = ("way", "requests", "seconds", "times floor", "peak MB", "MB above import", "MB received", "note")


def table_row(way: str, measurement: Measurement | None, floor: Measurement | None) -> tuple[str, ...]:
    if measurement is None:
        return (way, *[""] * (len(HEADINGS) - 2), "failed")
    received_bytes = measurement.totals.get("received_bytes")
    return (
        way,
        "" if measurement.requests is None else str(measurement.requests),
        f"{measurement.seconds:.1f}",
        "" if floor is None else f"{measurement.seconds / floor.seconds:.2f}",
        f"{measurement.peak_mb:.0f}",
        f"{measurement.peak_mb - measurement.import_mb:.0f}",
        "" if received_bytes is None else f"{received_bytes / MEGABYTE:.1f}",
        measurement.note,
    )


def print_results(results: dict[str, Measurement | None]) -> None:
    print_table(HEADINGS, [table_row(way, each, results.get("floor")) for way, each in results.items()])
    poolkeeper = results.get("poolkeeper")
    if poolkeeper is not None:
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in poolkeeper.parts.items() if part != "imports")
        print(f"\nWhere poolkeeper's seconds go: {parts}; before them {poolkeeper.parts['imports']:.1f} of imports.")
        totals = poolkeeper.totals
        print(f"It has {totals['rows']} rows; by arithmetic the fill makes {totals['rows_of_the_fill']}.")
    print("\nWhat each way counted:\n")
    for way, measurement in results.items():
        if measurement is not None:
            print(f"- {way}: {json.dumps(measurement.totals)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a preview costs, the least it can cost, and the CLI.")
    parser.add_argument("--pools", type=int, default=200)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--runs-per-pool", type=int, default=500)
    parser.add_argument("--cli-pools", type=int, default=10, help="how many pools the CLI is really run for")
    parser.add_argument("--rounds", type=int, default=1, help="how often each way is measured; times are medians")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--url", help="an empty database instead of a new SQLite one: postgresql+asyncpg://…")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--requests", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.measure:
        print(json.dumps(asdict(measure_here(arguments))))
        return 0
    # It takes minutes: whoever ends it early is not to be left with its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated."))
    results = measure_all(arguments)
    print_results(results)
    return int(any(measurement is None for measurement in results.values()))


if __name__ == "__main__":
    sys.exit(main())

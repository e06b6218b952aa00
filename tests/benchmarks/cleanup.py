"""Measure what deleting old runs costs: pool-cleanup, bare bulk calls, and one call for each run in sequence.

    python -m tests.benchmarks.cleanup --delete 10000
    python -m tests.benchmarks.cleanup --delete 10000 --database postgresql+asyncpg://user@host/an_empty_database

Each way deletes as many runs of the same server, the oldest first; `plan` only plans to delete all there are. The
server runs its services, but makes no runs: deleting runs has it delete their logs afterwards, which is part of it.
"""

# ruff: noqa: PLC0415

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import (
    Measurement,
    Totals,
    make_database,
    measure_in_new_process,
    measure_in_this_process,
    print_table,
    summary,
)
from tests.database import database_url
from tests.servers import free_port, prefect_environment, running_server

BENCHMARK = "tests.benchmarks.cleanup"
WAYS = ("cleanup", "bulk", "one-by-one", "plan")
QUIET = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in ("SCHEDULER", "LATE_RUNS", "TRIGGERS")}
EVERYTHING = 1_000_000
# Of the thirty days that are filled: enough for each way to find as many as it deletes.
OLD_DAYS = 3.0
ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


async def cleanup(delete: int) -> tuple[int, Totals]:
    """The flow as it is deployed, with everything that it writes: report, ledger, progress, events."""
    return await _flow(delete, dry_run=False)


async def plan(delete: int) -> tuple[int, Totals]:  # noqa: ARG001 - it plans for all there are
    return await _flow(EVERYTHING, dry_run=True)


async def _flow(most: int, *, dry_run: bool) -> tuple[int, Totals]:
    from flows.cleanup import cleanup as flow
    from flows.prefect_api.client import Api

    opened: list[Api] = []
    init = Api.__init__

    def remember(self: Api, *arguments: Any) -> None:
        init(self, *arguments)
        opened.append(self)

    Api.__init__ = remember  # type: ignore[method-assign]
    before = await _count()
    retention = {"finished_days": OLD_DAYS} | ({"keep_last": 0, "keep_latest_failure": False} if dry_run else {})
    state = await flow(
        kinds=["finished-runs"],
        retention=retention,
        caps={"finished_runs": most},
        limit={"max_actions": EVERYTHING, "max_share": 1},
        dry_run=dry_run,
        return_state=True,
    )
    print(state.message, file=sys.stderr)
    return sum(api.requests for api in opened), {"runs": before, "deleted": before - await _count()}


async def _count() -> int:
    from flows.prefect_api import connect
    from flows.prefect_api.flow_runs import count_runs

    async with connect() as api:
        return await count_runs(api, {"state": {"type": {"any_": ENDED}}})


async def _oldest(number: int) -> list[str]:
    """The ids are given: finding them is no part of what these ways cost."""
    from flows.prefect_api import connect

    async with connect() as api:
        ids: list[str] = []
        while len(ids) < number:
            body = {
                "flow_runs": {"state": {"type": {"any_": ENDED}}},
                "sort": "START_TIME_ASC", "limit": 200, "offset": len(ids),
            }  # fmt: skip
            ids += [row["id"] for row in await api.read("/flow_runs/filter", body)]
        return ids[:number]


async def _timed_bulk(ids: list[str]) -> tuple[int, float]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        started = time.perf_counter()
        for start in range(0, len(ids), 50):
            body = {"flow_runs": {"id": {"any_": ids[start : start + 50]}}}
            (await client.request("POST", "/flow_runs/bulk_delete", json=body)).raise_for_status()  # type: ignore[arg-type]
        return -(-len(ids) // 50), time.perf_counter() - started


async def _timed_one_by_one(ids: list[str]) -> tuple[int, float]:
    from uuid import UUID

    from prefect.client.orchestration import get_client

    async with get_client() as client:
        started = time.perf_counter()
        for each in ids:
            await client.delete_flow_run(UUID(each))
        return len(ids), time.perf_counter() - started


def measure_here(way: str, delete: int) -> Measurement:
    if way in ("cleanup", "plan"):
        ask = {"cleanup": cleanup, "plan": plan}[way]
        return measure_in_this_process(lambda: ask(delete))
    timed = {"bulk": _timed_bulk, "one-by-one": _timed_one_by_one}[way]
    took: list[float] = []

    async def ask_timed() -> tuple[int, Totals]:
        before, ids = await _count(), await _oldest(delete)
        requests, seconds = await timed(ids)
        took.append(seconds)
        return requests, {"runs": before, "deleted": before - await _count()}

    measured = measure_in_this_process(ask_timed)
    return Measurement(**{**asdict(measured), "seconds": took[0]})


def measure_all(arguments: argparse.Namespace) -> dict[str, Measurement | None]:
    """The ways in turn, on one server."""
    with tempfile.TemporaryDirectory(prefix="poolkeeper-benchmark-") as name:
        directory, port = Path(name), free_port()
        url = arguments.database or database_url(directory)
        environment = prefect_environment(directory, port) | QUIET | {"PREFECT_API_DATABASE_CONNECTION_URL": url}
        make_database(url, environment, arguments.pools, arguments.runs // arguments.pools)
        with running_server(environment, "--no-ui"):
            options = {"--pools": arguments.pools, "--delete": arguments.delete}
            ways = [way for way in WAYS[::-1] if way in arguments.ways]
            return {way: summary([measure_in_new_process(BENCHMARK, way, options, environment)]) for way in ways}


def print_results(results: dict[str, Measurement | None]) -> None:
    rows = []
    bulk = results.get("bulk")
    for way, measured in results.items():
        if measured is None:
            rows.append((way, "failed", "", "", "", ""))
            continue
        times = f"{measured.seconds / bulk.seconds:.2f}" if way != "plan" and bulk else ""
        memory = f"{measured.peak_mb - measured.import_mb:.0f}"
        rows.append(
            (way, str(measured.requests), f"{measured.seconds:.1f}", times, memory, json.dumps(measured.totals))
        )
    print_table(("way", "requests", "seconds", "times bulk", "MB above import", "found"), rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what deleting old runs costs.")
    parser.add_argument("--pools", type=int, default=200)
    parser.add_argument("--runs", type=int, default=130_000, help="how many have ended")
    parser.add_argument("--delete", type=int, default=10_000, help="how many each way deletes")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--database", default="", help="an empty database to use instead of a new SQLite file")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.measure:
        print(json.dumps(asdict(measure_here(arguments.measure, arguments.delete))))
        return 0
    results = measure_all(arguments)
    print_results(results)
    return int(any(measurement is None for measurement in results.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Measure the inventory's facts three ways on the same server: a plain client loop, the CLI, and Poolkeeper.

    python -m tests.benchmarks.inventory --pools 20 200

Each number of pools gets a new SQLite database and a server of its own on loopback. Each way runs in a new process,
which prints one line of JSON.
"""

# ruff: noqa: PLC0415

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import (
    UNDISTURBED,
    Measurement,
    Totals,
    cli_note,
    make_database,
    measure_in_new_process,
    measure_in_this_process,
    peak_mb,
    peak_mb_of_importing_prefect,
    print_table,
    summary,
)
from tests.database import database_url
from tests.servers import PREFECT, free_port, prefect_environment, running_server

if TYPE_CHECKING:
    import httpx
    from prefect.client.orchestration import PrefectClient

PAGE = 200
WINDOW = timedelta(hours=24)


# (a) A plain client loop, as anyone would write it.


async def count_deployments(client: "PrefectClient", pool_name: str) -> int:
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    only_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool_name]))
    count = 0
    while True:
        page = await client.read_deployments(work_pool_filter=only_pool, limit=PAGE, offset=count)
        count += len(page)
        if len(page) < PAGE:
            return count


async def count_runs(client: "PrefectClient", pool_name: str, now: datetime) -> Totals:
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    def in_types(*types: StateType) -> filters.FlowRunFilterState:
        return filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(types)))

    late = filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=["Late"]))
    ended = filters.FlowRunFilterEndTime(after_=now - WINDOW)  # type: ignore[arg-type]
    questions = {
        "active": filters.FlowRunFilter(state=in_types(StateType.PENDING, StateType.RUNNING)),
        "late": filters.FlowRunFilter(state=late),
        "finished": filters.FlowRunFilter(
            end_time=ended, state=in_types(StateType.COMPLETED, StateType.FAILED, StateType.CRASHED)
        ),
        "failed": filters.FlowRunFilter(end_time=ended, state=in_types(StateType.FAILED, StateType.CRASHED)),
    }
    only_pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool_name]))
    return {
        name: await client.count_flow_runs(flow_run_filter=question, work_pool_filter=only_pool)
        for name, question in questions.items()
    }


async def pool_facts(client: "PrefectClient", pool_name: str, now: datetime) -> Totals:
    queues = await client.read_work_queues(work_pool_name=pool_name)
    workers = await client.read_workers_for_work_pool(work_pool_name=pool_name)
    deployments = await count_deployments(client, pool_name)
    runs = await count_runs(client, pool_name, now)
    return {"pools": 1, "queues": len(queues), "workers": len(workers), "deployments": deployments, **runs}


async def read_pool_names(client: "PrefectClient") -> list[str]:
    names: list[str] = []
    while True:
        page = await client.read_work_pools(limit=PAGE, offset=len(names))
        names += [pool.name for pool in page]
        if len(page) < PAGE:
            return names


async def client_loop() -> tuple[int, Totals]:
    from prefect.client.orchestration import get_client

    requests = 0

    async def count_request(_: "httpx.Request") -> None:
        nonlocal requests
        requests += 1

    totals: Totals = {}
    now = datetime.now(UTC)
    async with get_client() as client:
        client._client.event_hooks["request"].append(count_request)
        for name in await read_pool_names(client):
            for fact, number in (await pool_facts(client, name, now)).items():
                totals[fact] = totals.get(fact, 0) + number
    return requests, totals


def measure_client_loop() -> Measurement:
    return measure_in_this_process(client_loop)


# (b) The CLI, a process per command.


def run_cli(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([*PREFECT, "work-pool", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure_cli(pools: int, measured_pools: int) -> Measurement:
    """The commands tell less than the other ways do: nothing of queues, workers, deployments, late or failed runs."""
    import_mb = peak_mb_of_importing_prefect()
    names = [f"pool-{pool:04d}" for pool in range(min(pools, measured_pools))]
    list_seconds = run_cli("ls")
    pool_seconds = sum(run_cli("inspect", name) + run_cli("slots", name) for name in names)
    return Measurement(
        requests=None,
        seconds=list_seconds + pool_seconds * pools / len(names),
        peak_mb=peak_mb(resource.RUSAGE_CHILDREN),
        import_mb=import_mb,
        totals={"pools": pools},
        note=cli_note(1 + 2 * pools, pools, len(names)),
    )


# (c) Poolkeeper.


async def observe_with_poolkeeper() -> tuple[int, Totals]:
    from flows.policy.selection import select_pools
    from flows.prefect_api import connect
    from flows.prefect_api.inventory import observe_inventory
    from flows.prefect_api.work_pools import read_pools

    async with connect() as api:
        now = await api.server_time()
        every_pool = await read_pools(api)
        selection = select_pools(["*"], [], [pool.name for pool in every_pool])
        facts = await observe_inventory(api, every_pool, selection, now=now, window_hours=24)
    pools = facts.fleet.pools
    totals = {
        "pools": len(pools),
        "queues": sum(len(state.queues) for state in pools),
        "workers": sum(len(state.workers) for state in pools),
        "deployments": sum(state.deployments for state in pools),
        "active": sum(len(state.active) for state in pools),
        "late": sum(state.late for state in pools),
        "finished": sum(state.finished for state in pools),
        "failed": sum(state.failed for state in pools),
    }
    return api.requests, totals


def measure_poolkeeper() -> Measurement:
    return measure_in_this_process(observe_with_poolkeeper)


# All ways in turn.

BENCHMARK = "tests.benchmarks.inventory"
WAYS = ("client-loop", "cli", "poolkeeper")


def measure_here(way: str, pools: int, cli_pools: int) -> Measurement:
    if way == "client-loop":
        return measure_client_loop()
    if way == "cli":
        return measure_cli(pools, cli_pools)
    return measure_poolkeeper()


def measure_all(pools: int, arguments: argparse.Namespace) -> dict[str, Measurement | None]:
    with tempfile.TemporaryDirectory(prefix="poolkeeper-benchmark-") as name:
        directory, port = Path(name), free_port()
        environment = prefect_environment(directory, port)
        make_database(database_url(directory), environment, pools, arguments.runs_per_pool)
        options = {"--pools": pools, "--cli-pools": arguments.cli_pools}
        rounds: dict[str, list[Measurement | None]] = {way: [] for way in arguments.ways}
        with running_server(environment, *UNDISTURBED):
            for _ in range(arguments.rounds):
                for way, measurements in rounds.items():
                    measurements.append(measure_in_new_process(BENCHMARK, way, options, environment))
    return {way: summary(measurements) for way, measurements in rounds.items()}


# The table.

HEADINGS = ("pools", "way", "requests", "seconds", "times client loop", "peak MB", "MB above import", "note")


def table_row(pools: int, way: str, measurement: Measurement | None, reference: Measurement | None) -> tuple[str, ...]:
    if measurement is None:
        return (str(pools), way, "", "", "", "", "", "failed")
    return (
        str(pools),
        way,
        "" if measurement.requests is None else str(measurement.requests),
        f"{measurement.seconds:.1f}",
        "" if reference is None else f"{measurement.seconds / reference.seconds:.2f}",
        f"{measurement.peak_mb:.0f}",
        f"{measurement.peak_mb - measurement.import_mb:.0f}",
        measurement.note,
    )


def print_results(results: dict[int, dict[str, Measurement | None]]) -> None:
    rows = [
        table_row(pools, way, measurement, measurements.get("client-loop"))
        for pools, measurements in results.items()
        for way, measurement in measurements.items()
    ]
    print_table(HEADINGS, rows)


def print_totals(results: dict[int, dict[str, Measurement | None]]) -> None:
    print("\nWhat each way counted over all pools:\n")
    for pools, measurements in results.items():
        for way, measurement in measurements.items():
            if measurement is not None:
                print(f"- {pools} pools, {way}: {json.dumps(measurement.totals)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the inventory's facts three ways on the same server.")
    parser.add_argument("--pools", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--runs-per-pool", type=int, default=500)
    parser.add_argument("--cli-pools", type=int, default=10, help="how many pools the CLI is really run for")
    parser.add_argument("--rounds", type=int, default=1, help="how often each way is measured; times are medians")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.measure:
        print(json.dumps(asdict(measure_here(arguments.measure, arguments.pools[0], arguments.cli_pools))))
        return 0
    results = {pools: measure_all(pools, arguments) for pools in arguments.pools}
    print_results(results)
    print_totals(results)
    return int(any(measurement is None for ways in results.values() for measurement in ways.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Measure what one sweep of auto-pause costs, beside two counts for each pool, on the same server.

    python -m tests.benchmarks.auto_pause --pools 200 --rounds 5

Both judge every pool by the same threshold over the same windows; the table is only comparable where both found the
same pools failing. A sweep decides and writes its report's text, but changes nothing.
"""

# ruff: noqa: PLC0415

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import (
    UNDISTURBED,
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

BENCHMARK = "tests.benchmarks.auto_pause"
WAYS = ("sweep", "two-counts")
WINDOWS = (60, 1440)


async def sweep(window_minutes: int) -> tuple[int, Totals]:
    from flows.policy.auto_pause import decide_circuits
    from flows.policy.failure_threshold import FailureThreshold
    from flows.policy.plan import ActionLimit, Kind, Verb
    from flows.policy.recovery import Recovery
    from flows.prefect_api import connect
    from flows.prefect_api.auto_pause import Settings, observe_circuits, open_question
    from flows.report.auto_pause import AutoPause, auto_pause_report

    threshold = FailureThreshold(window_minutes=window_minutes)
    settings = Settings(threshold, Recovery(), ActionLimit(max_share=1), dry_run=True)
    async with connect() as api:
        asked = await open_question(api, ["*"], [], settings)
        facts = await observe_circuits(api, asked)
        decision = decide_circuits(facts, asked.rules, settings.limit)
        auto_pause_report(AutoPause(facts, decision, asked.rules, True, (), "pool-auto-pause"), [])
        paused = [each for each in decision.plan.actions if each.verb is Verb.PAUSE and each.target.kind is Kind.POOL]
        return api.requests, {"pools": len(asked.every_pool), "paused": len(paused)}


async def two_counts(window_minutes: int) -> tuple[int, Totals]:
    """What anyone would write: of each pool, how many runs ended and how many of them failed, eight at a time."""
    import asyncio

    from flows.policy.failure_threshold import FailureThreshold
    from flows.prefect_api import connect
    from flows.prefect_api.flow_runs import FAILED, FINISHED, count_runs, ended
    from flows.prefect_api.work_pools import read_pools

    threshold = FailureThreshold(window_minutes=window_minutes)
    async with connect() as api:
        since = await api.server_time() - timedelta(minutes=window_minutes)
        pools = await read_pools(api)

        async def is_failing(pool: str) -> bool:
            finished, failed = await asyncio.gather(
                count_runs(api, ended(FINISHED, since), [pool]), count_runs(api, ended(FAILED, since), [pool])
            )
            return threshold.judge(finished=finished, failed=failed).is_failing

        failing = await asyncio.gather(*(is_failing(pool.name) for pool in pools if not pool.is_paused))
        return api.requests, {"pools": len(pools), "paused": sum(failing)}


def measure_here(way: str, window_minutes: int) -> Measurement:
    ask: dict[str, Any] = {"sweep": sweep, "two-counts": two_counts}
    return measure_in_this_process(lambda: ask[way](window_minutes))


def measure_all(pools: int, arguments: argparse.Namespace) -> dict[tuple[int, str], Measurement | None]:
    """Each window's ways in turn, round after round, on one server."""
    with tempfile.TemporaryDirectory(prefix="poolkeeper-benchmark-") as name:
        directory, port = Path(name), free_port()
        environment = prefect_environment(directory, port)
        make_database(database_url(directory), environment, pools, arguments.runs_per_pool)
        rounds: dict[tuple[int, str], list[Measurement | None]] = {
            (window, way): [] for window in WINDOWS for way in WAYS
        }
        with running_server(environment, *UNDISTURBED):
            for _ in range(arguments.rounds):
                for (window, way), measurements in rounds.items():
                    options = {"--pools": pools, "--window": window}
                    measurements.append(measure_in_new_process(BENCHMARK, way, options, environment))
    return {key: summary(measurements) for key, measurements in rounds.items()}


def print_results(results: dict[tuple[int, str], Measurement | None]) -> None:
    rows = []
    for (window, way), measured in results.items():
        other = results[window, "two-counts"]
        if measured is None or other is None:
            rows.append((str(window), way, "failed", "", "", "", ""))
            continue
        rows.append((
            str(window), way, str(measured.requests), f"{measured.seconds:.2f}",
            f"{measured.seconds / other.seconds:.2f}", f"{measured.peak_mb - measured.import_mb:.0f}",
            json.dumps(measured.totals),
        ))  # fmt: skip
    print_table(("window (min)", "way", "requests", "seconds", "times two counts", "MB above import", "found"), rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a sweep of auto-pause beside two counts for each pool.")
    parser.add_argument("--pools", type=int, default=200)
    parser.add_argument("--runs-per-pool", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured; times are medians")
    parser.add_argument("--window", type=int, default=WINDOWS[0], help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.measure:
        print(json.dumps(asdict(measure_here(arguments.measure, arguments.window))))
        return 0
    results = measure_all(arguments.pools, arguments)
    print_results(results)
    return int(any(measurement is None for measurement in results.values()))


if __name__ == "__main__":
    sys.exit(main())

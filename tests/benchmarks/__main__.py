"""Measure what Poolkeeper's jobs cost, beside other ways of doing them, all in one run on one server for each size.

    python -m tests.benchmarks --size S M
    python -m tests.benchmarks --size S M L --postgres postgresql://user@host --rounds 3

Fails where a way fails, or where the ways did not give the same answer. A bar that is missed is only told.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, run
from urllib.parse import urlsplit

from tests.benchmarks import auto_pause, cancel, cleanup, inventory, preview
from tests.benchmarks.bars import verdicts
from tests.benchmarks.fleet import SIZES
from tests.benchmarks.measure import Job, Results, Rounds, Setting, fill, measure_job, median, problems
from tests.benchmarks.tables import print_cost, print_results, print_verdicts
from tests.database import POSTGRES, drop_made
from tests.processes import PREFECT, free_port, start_server, stop
from tests.production import UPGRADE
from tests.servers import prefect_environment

# In this order: those that change the server come last.
JOBS = {
    "inventory": (inventory.JOB,),
    "auto-pause": (auto_pause.HOUR, auto_pause.DAY),
    "preview": (preview.JOB,),
    "cleanup": (cleanup.JOB,),
    "cancel": (cancel.JOB,),
}
# The server does what follows from a request and nothing by itself: that would be measured too.
BY_ITSELF = (
    "CANCELLATION_CLEANUP", "CLEANUP_RECONCILER", "DB_VACUUM", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS",
    "REPOSSESSOR", "SCHEDULER", "TRIGGERS",
)  # fmt: skip
# A server that has nothing to do keeps a processor busy for some hundredths of the time.
IDLE, LOOK_SECONDS, MOST_LOOKS = 0.08, 2.0, 150
UNDISTURBED = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in BY_ITSELF}


@contextmanager
def filled_server(size: str) -> Iterator[tuple[Setting, Mapping[str, str], int]]:
    """A server with a fleet of that size, for the length of the block, and the id of its process."""
    with tempfile.TemporaryDirectory(prefix="poolkeeper-benchmark-") as directory:
        try:
            environment = prefect_environment(Path(directory), free_port()) | UNDISTURBED
            url = environment["PREFECT_API_DATABASE_CONNECTION_URL"]
            setting = Setting(size, between_the_minutes(datetime.now(UTC)).isoformat(), url, directory)
            run([*PREFECT, *UPGRADE], check=True, env=environment, stdout=DEVNULL)
            fill(setting, environment)
            server = start_server(environment, "--no-ui")
            try:
                yield setting, environment, server.pid
            finally:
                stop(server)
        finally:
            drop_made()


def between_the_minutes(now: datetime) -> datetime:
    """Shortly before: no schedule is due just then, so that each has the same number of dates in a day."""
    return (now - timedelta(seconds=30)).replace(second=30, microsecond=0)


def settle(server: int) -> None:
    """Wait until the server has done what follows from what was asked before: of deleted runs it deletes the logs."""
    for _ in range(MOST_LOOKS):
        before = processor_seconds(server)
        time.sleep(LOOK_SECONDS)
        if processor_seconds(server) - before <= IDLE * LOOK_SECONDS:
            return
    raise TimeoutError(f"The server is still busy after {MOST_LOOKS * LOOK_SECONDS:.0f} seconds.")


def processor_seconds(process: int) -> float:
    """How long it has kept a processor busy, as Linux tells it."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def measure_size(size: str, jobs: list[Job], rounds: int) -> tuple[dict[str, Rounds], list[str]]:
    with filled_server(size) as (setting, environment, server):
        measured = {job.name: measure_job(job, setting, rounds, environment, lambda: settle(server)) for job in jobs}
    return measured, [problem for name, each in measured.items() for problem in problems(name, each)]


def measure_here(job: str, way: str, setting: str) -> None:
    every_job = {each.name: each for jobs in JOBS.values() for each in jobs}
    print(json.dumps(asdict(every_job[job].way(way).measure(Setting(**json.loads(setting))))))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure what the jobs cost.")
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["S"], help="of the fleet; L only with --postgres")
    parser.add_argument("--postgres", help="a server to make databases on, postgresql://user@host, instead of SQLite")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured; times are medians")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if "L" in arguments.size and not arguments.postgres:
        parser.error("size L is only for --postgres")
    if arguments.rounds < 1:
        parser.error("there is at least one round")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    if arguments.measure:
        measure_here(*arguments.measure)
        return 0
    # It takes minutes: whoever ends it early is not to be left with its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated."))
    os.environ.pop(POSTGRES, None)
    if arguments.postgres:
        parts = urlsplit(arguments.postgres)
        os.environ[POSTGRES] = parts._replace(path=parts.path.rstrip("/") or "/postgres").geturl()
    jobs = [job for name, each in JOBS.items() if name in arguments.jobs for job in each]
    found: list[str] = []
    results: dict[str, Results] = {}
    for size in (name for name in SIZES if name in arguments.size):
        measured, wrong = measure_size(size, jobs, arguments.rounds)
        found += [f"{size}: {each}" for each in wrong]
        results[size] = {job: {way: median(each) for way, each in ways.items()} for job, ways in measured.items()}
        print_results(f"{size}, {'Postgres' if arguments.postgres else 'SQLite'}", measured, results[size])
    print_cost(results, jobs)
    print_verdicts(verdicts(results, is_postgres=bool(arguments.postgres)))
    for problem in found:
        print(f"\nNot comparable: {problem}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

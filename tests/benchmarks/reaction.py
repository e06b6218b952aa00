"""Measure how long it takes from the end of the failing runs to the pool being paused.

    python -m tests.benchmarks.reaction --rounds 5

Everything is as deployed: events, the automation, a worker of the management pool, the flow in a process of its own.
Only the failing runs are not executed: their states are set. Each round has a work pool of its own.
"""

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from tests.processes import free_port
from tests.rest import Rest, Row, unique, wait_for
from tests.server.test_commands import poolkeeper
from tests.servers import prefect_environment, running_server
from tests.workers import working

RUNS = 10


def paused_at(rest: Rest, pool: Row) -> datetime | None:
    query = {"event": {"name": ["prefect.work-pool.paused"]}, "resource": {"id": [f"prefect.work-pool.{pool['id']}"]}}
    events = rest.ask("/events/filter", filter=query)["events"]
    return datetime.fromisoformat(events[0]["occurred"]) if events else None


def react(rest: Rest) -> float:
    """Seconds from the end of the last of the runs that fail to the pause."""
    pool = rest.pool(unique("reaction"))
    deployment = rest.deployment(pool["name"])
    runs = [rest.run(deployment, "PENDING", "RUNNING") for _ in range(RUNS)]
    for run in runs:
        rest.ask(f"/flow_runs/{run}/set_state", state={"type": "FAILED", "name": "Failed"}, force=True)
    ended = datetime.fromisoformat(rest.read(f"/flow_runs/{runs[-1]}")["end_time"])
    at = wait_for(lambda: paused_at(rest, pool), seconds=400, what="the pause")
    return (at - ended).total_seconds()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the time from failing runs to the pause.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--poll-seconds", type=float, default=10, help="how often the worker asks; Prefect's own is 10")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="poolkeeper-reaction-") as name, ExitStack() as stack:
        environment = prefect_environment(Path(name), free_port())
        rest = stack.enter_context(Rest(stack.enter_context(running_server(environment))))
        done = poolkeeper("deploy", environment)
        if done.returncode:
            print(done.stdout + done.stderr)
            return 1
        # So that one failing pool after the other is not taken for a common outage.
        for number in range(4 * arguments.rounds):
            rest.pool(f"quiet-{number}")
        stack.enter_context(working("management", environment, poll_seconds=arguments.poll_seconds))
        seconds = [react(rest) for _ in range(arguments.rounds)]
    print(f"seconds from the end of the last run to the pause: {', '.join(f'{each:.1f}' for each in seconds)}")
    print(f"median {statistics.median(seconds):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The server that a browser looks at, and what is put onto it for people to see."""

from collections.abc import Mapping
from typing import Any

from tests.rest import Rest, Row, unique, wait_for
from tests.server.cleaning import Attic

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# The server, the worker, the browser and each run share one machine.
SECONDS_FOR_A_RUN = 240


class Site:
    def __init__(self, rest: Rest, environment: Mapping[str, str]) -> None:
        self.rest, self.environment = rest, environment
        self.address = environment["PREFECT_API_URL"].removesuffix("/api")

    def deployment(self, flow: str) -> str:
        return str(self.rest.read(f"/deployments/name/{flow}/management")["id"])

    def start(self, flow: str, **parameters: Any) -> str:
        """The id of a run that is made without the UI."""
        path = f"/deployments/{self.deployment(flow)}/create_flow_run"
        return str(self.rest.ask(path, parameters=parameters)["id"])

    def run(self, run_id: str) -> Row:
        return dict(self.rest.read(f"/flow_runs/{run_id}"))

    def runs(self, flow: str) -> set[str]:
        """Those that a person started; schedules make some of their own."""
        rows = self.rest.ask("/flow_runs/filter", deployments={"id": {"any_": [self.deployment(flow)]}}, limit=200)
        return {row["id"] for row in rows if not row["auto_scheduled"]}

    def until(self, run_id: str, *states: str) -> Row:
        """The run, once it is in one of these states, or has ended."""
        wanted = {*states, *ENDED}
        found: Row = wait_for(
            lambda: row if (row := self.run(run_id))["state_type"] in wanted else None,
            seconds=SECONDS_FOR_A_RUN,
            what=f"{run_id} in {sorted(wanted)}",
        )
        return found

    def artifacts(self, run_id: str) -> dict[str, str]:
        """What a run has left: the ids by key."""
        rows = self.rest.ask("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}}, limit=50)
        return {row["key"]: row["id"] for row in rows}

    def attic(self, runs: int, **columns: Any) -> Attic:
        """A work pool with runs that ended long ago."""
        attic = Attic(self.rest, self.environment)
        attic.old(runs, **columns)
        return attic

    def failing(self, runs: int) -> str:
        """A work pool whose runs all failed just now."""
        pool = unique("failing")
        self.rest.pool(pool)
        deployment = self.rest.deployment(pool)
        for _ in range(runs):
            self.rest.run(deployment, "RUNNING", "FAILED")
        return pool

    def scheduled(self) -> str:
        """A work pool with a run due every minute, and no worker."""
        pool = unique("scheduled")
        self.rest.pool(pool, concurrency_limit=2)
        schedule = {"active": True, "schedule": {"interval": 60}}
        self.rest.deployment(pool, schedules=[schedule])
        return pool

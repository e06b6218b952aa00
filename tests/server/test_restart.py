"""The server goes away in the middle of a run, and comes back."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import free_port, start_server, stop
from tests.rest import Rest, unique, wait_for
from tests.servers import prefect_environment

ROOT = Path(__file__).resolve().parents[2]
POOLS = 60
RUN = """
import asyncio
from prefect.flows import load_flow_from_entrypoint
flow = load_flow_from_entrypoint("flows/inventory.py:inventory", use_placeholder_flow=False)
asyncio.run(flow(return_state=True))
"""


@pytest.mark.long
def test_an_inventory_survives_a_restart_of_the_server_and_is_whole(tmp_path: Path) -> None:
    environment = prefect_environment(tmp_path, free_port())
    server = start_server(environment, "--no-services")
    with Rest(environment["PREFECT_API_URL"]) as rest:
        for _ in range(POOLS):
            rest.pool(unique("pool"))
        run = subprocess.Popen([sys.executable, "-c", RUN], env=environment, cwd=ROOT)
        running = {"state": {"type": {"any_": ["RUNNING"]}}}
        wait_for(lambda: rest.ask("/flow_runs/count", flow_runs=running), what="the run to be running")
        server.kill()
        server.wait()
        server = start_server(environment, "--no-services")
        try:
            assert run.wait(180) == 0
            (ended,) = rest.ask("/flow_runs/filter", flow_runs={"state": {"type": {"not_any_": ["PENDING"]}}})
            assert ended["state_type"] == "COMPLETED"
            assert len(rest.table("pool-inventory-table")) == POOLS
        finally:
            run.kill()
            stop(server)

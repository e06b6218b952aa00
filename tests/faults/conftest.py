"""What the tests of faults share: a server of their own, with a proxy in front of it that may do anything."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.prefect_api import ledger, paging, turning, upkeep
from tests.api import drain
from tests.faults.jobs import World
from tests.faults.proxy import Proxy
from tests.faults.table import Tried
from tests.processes import free_port
from tests.rest import Rest
from tests.server.breaker import breaking
from tests.servers import Mortal, mortal_server, prefect_environment

# So many rows are read at once, that lists have several pages.
PAGE, PAGE_STEPS = 4, (3, 2, 3, 2, 3)


@pytest.fixture(scope="module")
def faulty_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prefect_environment(tmp_path_factory.mktemp("faults"), free_port())


@pytest.fixture(scope="module")
def mortal(faulty_environment: dict[str, str]) -> Iterator[Mortal]:
    drain()
    with mortal_server(faulty_environment) as mortal:
        yield mortal


@pytest.fixture(scope="module")
def proxy(mortal: Mortal) -> Iterator[Proxy]:
    """Prefect's API in this process is reached through it. The heartbeats of flow runs take a second each."""
    with Proxy(mortal.environment["PREFECT_API_URL"]).running() as proxy:
        settings = {PREFECT_API_URL: proxy.url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with temporary_settings(settings):
            yield proxy
            proxy.clear()
            drain()


@pytest.fixture
def world(proxy: Proxy, faulty_environment: dict[str, str], tmp_path: Path) -> Iterator[World]:
    proxy.clear()
    with Rest(faulty_environment["PREFECT_API_URL"]) as rest, breaking(rest, faulty_environment) as breaker:
        deploy_keeper(rest)
        yield World(rest, faulty_environment, breaker, tmp_path)
        proxy.clear()
        keep_only_fleet(rest)


def deploy_keeper(rest: Rest) -> None:
    """The deployments for which runs are booked."""
    if not rest.get("/work_pools/management").is_success:
        rest.pool("management")
    for name in ("auto_pause", "lifecycle"):
        flow = rest.ask("/flows/", name=f"pool-{name.replace('_', '-')}")
        entry = {"entrypoint": f"flows/{name}.py:{name}", "work_pool_name": "management"}
        rest.ask("/deployments/", name="management", flow_id=flow["id"], tags=["poolkeeper"], **entry)


def keep_only_fleet(rest: Rest) -> None:
    """Leave nothing that makes later runs longer."""
    for row in rest.everything("/work_pools/filter"):
        if not row["name"].startswith(("fleet-", "management")):
            rest.delete_pool(row["name"])
    for row in rest.everything("/variables/filter"):
        rest.delete(f"/variables/{row['id']}")
    for row in rest.everything("/block_documents/filter"):
        if row["name"] and row["name"].startswith("poolkeeper-archive"):
            rest.delete(f"/block_documents/{row['id']}")


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    tried, failed = Tried(), request.session.testsfailed
    yield tried
    if request.config.getoption("--fault-table") and request.session.testsfailed == failed:
        tried.write(request.path.stem)


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", PAGE)
    monkeypatch.setattr(paging, "PAGE_STEPS", PAGE_STEPS)


@pytest.fixture
def dead_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run left undone is taken up at once, and not only when that one must be dead."""
    for module in (turning, upkeep, ledger):
        monkeypatch.setattr(module, "DEAD_AFTER", timedelta(0))

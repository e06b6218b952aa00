"""What all tests share: a Prefect home of their own, and one real server for the whole session."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before Prefect is imported anywhere: the user's own profile, server and database are none of the tests' business.
HOME = tempfile.TemporaryDirectory(prefix="poolkeeper-tests-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[_name]
os.environ |= {"PREFECT_HOME": HOME.name, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from prefect.flows import load_flow_from_entrypoint  # noqa: E402

from tests.api import served  # noqa: E402
from tests.database import POSTGRES, drop_made  # noqa: E402
from tests.processes import free_port  # noqa: E402
from tests.rest import Rest  # noqa: E402
from tests.servers import PRODUCTION, prefect_environment  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

# The same examples each time, however slow the machine: what holds for one run holds for the next. To look for new
# ones: --hypothesis-profile=search.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("same")


# These take longest: begun last, they would be waited for alone.
LONGEST_FIRST = ("test_up.py", "test_auto_pause.py", "test_commands.py", "test_cleanup.py", "server/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((at for at, name in enumerate(LONGEST_FIRST) if name in item.path.as_posix()), len(LONGEST_FIRST))

    items.sort(key=place)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", default="", help="a Postgres server for the tests' servers, postgresql://user@host/db"
    )
    parser.addoption(
        "--production", action="store_true", help="two API servers, services apart and a Redis for each test's server"
    )
    parser.addoption("--fault-table", action="store_true", help="write down what faults were tried on what")


def pytest_configure(config: pytest.Config) -> None:
    if url := config.getoption("--postgres"):
        os.environ[POSTGRES] = url
    if config.getoption("--production"):
        if not url:
            raise pytest.UsageError("--production: several servers share a Postgres database; say --postgres as well.")
        os.environ[PRODUCTION] = "yes"


def pytest_unconfigure() -> None:
    drop_made()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the session's server, for processes that shall use it."""
    return prefect_environment(tmp_path_factory.mktemp("server"), free_port())


@pytest.fixture(scope="session")
def server(environment: dict[str, str]) -> Iterator[str]:
    """The address of the session's server, which is Prefect's API in this process from then on."""
    with served(environment) as url:
        yield url


@pytest.fixture
def rest(server: str) -> Iterator[Rest]:
    with Rest(server) as rest:
        yield rest


@pytest.fixture(scope="session")
def inventory() -> Any:
    """The flow as a run loads it."""
    return load_flow_from_entrypoint(str(ROOT / "flows/inventory.py:inventory"), use_placeholder_flow=False)


@pytest.fixture(scope="session")
def preview() -> Any:
    """The flow as a run loads it."""
    return load_flow_from_entrypoint(str(ROOT / "flows/preview.py:preview"), use_placeholder_flow=False)

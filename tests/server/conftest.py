"""What the tests of the circuit breaker share: a server of their own, as each look judges every pool there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import served
from tests.processes import free_port
from tests.rest import Rest
from tests.server.breaker import Breaker, breaking
from tests.server.yard import Yard
from tests.servers import prefect_environment


@pytest.fixture(scope="module")
def breaker_environment(
    server: str,  # noqa: ARG001 - it comes first, and is Prefect's API again afterwards
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    environment = prefect_environment(tmp_path_factory.mktemp("breaker"), free_port())
    with served(environment):
        yield environment


@pytest.fixture
def breaker(breaker_environment: dict[str, str]) -> Iterator[Breaker]:
    with Rest(breaker_environment["PREFECT_API_URL"]) as rest, breaking(rest, breaker_environment) as breaker:
        yield breaker


@pytest.fixture
def yard(rest: Rest, tmp_path: Path) -> Iterator[Yard]:
    """A spec of its own, and work pools that go when the test is over."""
    yard = Yard(rest, tmp_path)
    yield yard
    yard.clear()

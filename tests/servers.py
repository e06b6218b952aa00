"""Real Prefect servers for tests and benchmarks: on loopback, on a free port, each with a home of its own."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.database import database_url
from tests.processes import start_server, stop
from tests.production import running_apart


def prefect_environment(home: Path, port: int) -> dict[str, str]:
    """Nothing of the user's own Prefect settings, so that no other server or database is ever touched."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": database_url(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


# Set to anything, a server is run as in production.
PRODUCTION = "POOLKEEPER_TESTS_PRODUCTION"


@contextmanager
def running_server(environment: Mapping[str, str], *options: str) -> Iterator[str]:
    """The address of the API of a server that lives for the length of the block."""
    if PRODUCTION in os.environ:
        with running_apart(environment, *(option for option in options if option != "--no-services")) as url:
            yield url
        return
    server = start_server(environment, *options)
    try:
        yield environment["PREFECT_API_URL"]
    finally:
        stop(server)

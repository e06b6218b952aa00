"""Real Prefect servers for tests and benchmarks: on loopback, on a free port, each with a home of its own."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass
class Mortal:
    """A server that may be killed, and comes back with what it had written down."""

    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]
    _coming: threading.Thread | None = None

    def dies(self) -> None:
        """At once; it comes back by itself."""
        self.process.kill()
        self.process.wait()
        self._coming = threading.Thread(target=self._comes_back)
        self._coming.start()

    def is_back(self) -> None:
        """Wait for it."""
        if self._coming is not None:
            self._coming.join()

    def _comes_back(self) -> None:
        self.process = start_server(self.environment)


@contextmanager
def mortal_server(environment: Mapping[str, str]) -> Iterator[Mortal]:
    mortal = Mortal(environment, start_server(environment))
    try:
        yield mortal
    finally:
        mortal.is_back()
        stop(mortal.process)

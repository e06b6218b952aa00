"""A server that is Prefect's API in this process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.servers import running_server


@contextmanager
def served(environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that lives for the length of the block."""
    # What is on its way to another server goes there first, and what is for this one before it is gone: it would
    # otherwise be tried again and again.
    drain()
    with running_server(environment) as url, temporary_settings({PREFECT_API_URL: url}):
        yield url
        drain()


def drain() -> None:
    """Have everything sent that waits to be."""
    APILogWorker.drain_all()
    EventsWorker.drain_all()

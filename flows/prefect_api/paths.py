"""Where things are on Prefect's API, whatever they are called."""

from urllib.parse import quote


def segment(name: str) -> str:
    """A name as one segment of a path. One of dots alone would lead to what lies above it: to a worker's whole pool."""
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E") if set(name) == {"."} else quoted


def pool_path(name: str) -> str:
    return f"/work_pools/{segment(name)}"


def queue_path(pool: str, name: str) -> str:
    return f"{pool_path(pool)}/queues/{segment(name)}"


def worker_path(pool: str, name: str) -> str:
    return f"{pool_path(pool)}/workers/{segment(name)}"

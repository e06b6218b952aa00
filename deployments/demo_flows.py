"""The flows of the demo fleet: one that works, one that fails."""

from prefect import flow


@flow(name="demo-steady")
def steady(rows: int = 1000) -> int:
    """Pretends to load some rows.

    Args:
        rows: How many rows to pretend.
    """
    return rows


@flow(name="demo-flaky")
def flaky() -> None:
    """Fails, so that there is a pool that fails."""
    raise ConnectionError("the demo's database does not answer, and is not meant to")

"""What is kept of many deployments, asked about many at once, on a real server."""

from collections.abc import Iterator

import pytest

from tests.rest import Rest, Row
from tests.server.cleaning import Attic

pytestmark = [pytest.mark.anyio, pytest.mark.long]
KEEP_LAST = 2


@pytest.fixture
def attic(rest: Rest, environment: dict[str, str]) -> Iterator[Attic]:
    attic = Attic(rest, environment)
    yield attic
    rest.delete_pool(attic.pool)


def ran(attic: Attic, *days: float, then: tuple[str, ...] = ()) -> tuple[Row, list[str]]:
    """A deployment, and its runs that ended so many days ago; the last one in these states."""
    deployment = attic.rest.deployment(attic.pool)
    ended = [attic.old(days=each, of=deployment) for each in days[:-1]]
    return deployment, [run for runs in (*ended, attic.old(1, *then, days=days[-1], of=deployment)) for run in runs]


async def test_of_many_deployments_each_keeps_its_own_last_runs(attic: Attic) -> None:
    # With these, one question about all of them tells that both spans of time since have a run.
    regular = [ran(attic, 60, 20, 5)[1] for _ in range(KEEP_LAST + 2)]
    at_once = ran(attic, 60, 20, 19.5, 19)[1]
    quiet = ran(attic, 62, 61, 60)[1]
    once_since = ran(attic, 61, 60, 5)[1]
    cancelled_since = ran(attic, 61, 60, 5, then=("CANCELLED",))[1]
    every = [run for runs in (*regular, at_once, quiet, once_since, cancelled_since) for run in runs]
    await attic.sweep(retention={"keep_last": KEEP_LAST, "keep_latest_failure": False})
    gone = [*(runs[0] for runs in regular), at_once[0], quiet[0], once_since[0]]
    assert attic.there(every) == set(every) - set(gone)


async def test_of_many_deployments_each_keeps_its_latest_failure(attic: Attic) -> None:
    failed = ("RUNNING", "FAILED")
    again = [ran(attic, 5, 60, then=failed) for _ in range(3)]
    for deployment, _ in again[:2]:
        attic.old(1, *failed, days=10, of=deployment)
    olds = [runs[-1] for _, runs in again]
    await attic.sweep(retention={"keep_last": 1, "keep_latest_failure": True})
    assert attic.there(olds) == {olds[2]}

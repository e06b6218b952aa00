"""Every job that acts, killed at each of its writes: the next run finishes what it began, or undoes it."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.choice import at_write, nothing
from tests.faults.forking import Forking, forking
from tests.faults.jobs import JOBS, Case, World, difference
from tests.faults.proxy import Proxy
from tests.faults.table import Tried
from tests.faults.wire import Request

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.usefixtures("dead_at_once")]

ACTING = [job for job in JOBS if job not in ("inventory", "preview")]
# A run that is dead leaves the next one to settle it, and that one perhaps its own turn to a further one.
LOOKS = 2
# Instead of the number of a write.
LAST = -1


@pytest.fixture(scope="module")
def runs(proxy: Proxy, faulty_environment: dict[str, str]) -> Iterator[Forking]:
    quick = {"PREFECT_API_URL": proxy.url, "PREFECT_LOGGING_TO_API_ENABLED": "false"}
    with forking(faulty_environment | quick) as runs:
        yield runs


@pytest.mark.parametrize("job", ACTING)
async def test_whenever_it_is_killed_the_next_run_finishes_or_undoes_it(
    world: World, proxy: Proxy, runs: Forking, tried: Tried, job: str
) -> None:
    (usual,) = await JOBS[job](world, 1)
    proxy.clear()
    assert runs.run(usual.entry, usual.parameters) == 0
    writes, right = changes(proxy), usual.stands()
    cases = await JOBS[job](world, len(writes) + 1)
    wrong = []
    for at, case in zip([*writes, LAST], cases, strict=True):
        place = "after the last write" if at == LAST else f"before {writes[at]}"
        proxy.clear()
        killed = kill_once(runs, max(writes) if at == LAST else at)
        proxy.choose = nothing if at == LAST else at_write(at, "500")
        proxy.after, proxy.before = (killed, proxy.before) if at == LAST else (proxy.after, killed)
        end = runs.run(case.entry, case.parameters)
        # What another run had left to do may be one write less here.
        was_hit = len(proxy.writes) > (max(writes) if at == LAST else at)
        proxy.clear()
        problems = [f"ended with {end}"] if was_hit and end != -signal.SIGKILL else []
        problems += left_wrongly(case.stands())
        problems += await settle(case, right)
        wrong += [f"{job}, killed {place}: {problem}" for problem in problems]
        tried.note(job, "killed", "KILLED")
    assert not wrong, "\n".join(wrong)


def changes(proxy: Proxy) -> dict[int, str]:
    """The writes that change something, and of those that leave a report the first and the last; by their numbers."""
    reports = [each.number for each in proxy.writes if each.path.startswith("/artifacts/")]
    return {each.number: str(each) for each in proxy.writes if each.number not in reports[1:-1]}


def kill_once(runs: Forking, at: int) -> Callable[[Request], None]:
    def look(request: Request) -> None:
        if request.is_write and request.number == at:
            os.kill(runs.pid, signal.SIGKILL)

    return look


def left_wrongly(stands: Any) -> Iterator[str]:
    """What must not even stand until the next run."""
    if stands.get("paused") and not (stands["notes"] and stands["circuits"]):
        yield f"paused, and nothing tells until when: {stands}"
    if stands.get("limit", 7) != 7 and not stands["circuits"]:
        yield f"its limit is lost: {stands}"
    if not stands.get("there", True) and not stands["archives"]:
        yield f"deleted, and not archived: {stands}"


async def settle(case: Case, right: Any) -> list[str]:
    for _ in range(LOOKS):
        state = await case.run()
        if (stands := case.stands()) == right:
            return []
    return [f"then {difference(stands, right)} ({state.message})"]

"""The process of a flow, or the server, is killed, as by kill -9, at a write: the next run finishes or undoes."""

import asyncio
import signal

import pytest

from tests.faults.choice import at_write
from tests.faults.jobs import JOBS, Case, World, difference
from tests.faults.proxy import Proxy
from tests.faults.table import Tried
from tests.faults.test_faults import LOOKING, Clean, clean
from tests.faults.wire import Request
from tests.processes import flow_process
from tests.servers import Mortal

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.usefixtures("short_pages", "dead_at_once")]

ACTING = [job for job in JOBS if job not in LOOKING]
# The next run, and one more where that found something only half known.
RUNS_AFTER = 2
TOLD_OF_PROGRESS = 2


@pytest.mark.parametrize("job", ACTING)
async def test_what_a_killed_run_left_is_finished_or_undone(world: World, proxy: Proxy, tried: Tried, job: str) -> None:
    usual = await clean(world, proxy, job)
    wrong, killed = [], 0
    for at, case in zip(usual.changes, await JOBS[job](world, len(usual.changes)), strict=True):
        if not await asyncio.to_thread(dies_at, proxy, world, case, at):
            # How often it tells how far it is depends on how long it takes: it had come to its end before.
            assert case.stands() == usual.stands, f"{job} made no write {at}"
            continue
        killed += 1
        tried.note(job, "kill -9", "KILLED")
        wrong += [f"write {at} {usual.writes[at]}: {each}" for each in await left(case, usual)]
    assert not wrong, "\n".join(wrong)
    assert killed >= len(usual.changes) - TOLD_OF_PROGRESS


@pytest.mark.parametrize("job", ACTING)
async def test_what_a_killed_server_left_is_finished_or_undone(
    world: World, proxy: Proxy, mortal: Mortal, tried: Tried, job: str
) -> None:
    usual = await clean(world, proxy, job)
    at = usual.changes[len(usual.changes) // 2]
    (case,) = await JOBS[job](world, 1)
    proxy.clear()

    def kill(request: Request) -> None:
        if request.is_write and request.number == at:
            proxy.clear()
            mortal.dies()

    proxy.before = kill
    state = await case.run()
    mortal.is_back()
    tried.note(job, "server killed", state.type.value)
    assert "encountered an exception" not in state.message
    assert await left(case, usual) == []


async def left(case: Case, usual: Clean) -> list[str]:
    """What still stands otherwise than it should, after the runs that come next."""
    told = "nobody asked again"
    for _ in range(RUNS_AFTER):
        # A person who sees that it is done does not ask again.
        if case.is_by_hand and case.stands() == usual.stands:
            break
        told = (await case.run()).message
    stands = case.stands()
    return [] if stands == usual.stands else [f"{difference(stands, usual.stands)}; the run after it: {told}"]


def dies_at(proxy: Proxy, world: World, case: Case, at: int) -> bool:
    """Whether the flow came to that write, in a process of its own that was killed there."""
    proxy.clear()
    process = flow_process(case.entry, case.parameters, world.environment | {"PREFECT_API_URL": proxy.url})

    def kill(request: Request) -> None:
        if request.is_write and request.number == at:
            process.kill()

    proxy.before, proxy.choose = kill, at_write(at, "500")
    process.communicate()
    proxy.clear()
    return process.returncode == -signal.SIGKILL

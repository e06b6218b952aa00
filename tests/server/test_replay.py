"""The forecast beside what a real worker then does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

import pytest

from flows.policy.forecast import Expectation, Standing
from flows.policy.foreseen import Question
from flows.policy.preview import foresee
from flows.policy.selection import select_pools
from flows.prefect_api import connect
from flows.prefect_api.upcoming import observe_upcoming
from flows.prefect_api.work_pools import read_pools
from tests.rest import Rest, Row, unique, wait_for
from tests.workers import working

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LENGTH = timedelta(seconds=8)
FLOW = f"""
from time import sleep

from prefect import flow


@flow
def rest():
    sleep({LENGTH.total_seconds()})
"""
LIMIT = 2
# Prefect lets a run that waits for its time begin within the second before it.
EARLY = timedelta(seconds=1)
# Time to look, and for the first processes to start, before anything is due.
AHEAD = timedelta(seconds=6)


def due_in(rest: Rest, deployment: Row, *seconds: float) -> list[str]:
    return [rest.run(deployment, due=-timedelta(seconds=each)) for each in seconds]


def ended(rest: Rest, runs: list[str]) -> Callable[[], list[Row]]:
    """The runs, once all of them have ended."""

    def ask() -> list[Row]:
        found = rest.everything("/flow_runs/filter", flow_runs={"id": {"any_": runs}}, sort="EXPECTED_START_TIME_ASC")
        return found if all(run["end_time"] for run in found) else []

    return ask


async def forecast(pool: str) -> dict[str, Expectation]:
    """What is to be expected of the pool's runs, by run id, if the pool were not paused."""
    async with connect() as api:
        pools = await read_pools(api)
        selection = select_pools([pool], [], [each.name for each in pools])
        now = await api.server_time()
        facts = await observe_upcoming(api, pools, selection, now=now, until=now + timedelta(hours=1))
    (state,) = facts.pools
    resumed = replace(facts, pools=(replace(state, pool=replace(state.pool, is_paused=False)),))
    (foreseen,) = foresee(resumed, Question(hours=1, timezone="UTC", acceptable_wait_minutes=5)).pools
    return {each.run.id: each for each in foreseen.expectations}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def test_runs_start_as_foreseen(rest: Rest, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "resting.py").write_text(FLOW)
    pool = unique("replay")
    rest.pool(pool, concurrency_limit=LIMIT)
    here = {"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}
    deployment = rest.deployment(pool, entrypoint="resting.py:rest", pull_steps=[here])
    with working(pool, environment):
        wait_for(lambda: rest.ask(f"/work_pools/{pool}/workers/filter"), what="the worker")
        known = due_in(rest, deployment, 0, 0)
        past = wait_for(ended(rest, known), seconds=120, what="the first runs to end")
        # While it is paused the worker gets no runs, so that the forecast is one.
        rest.change_pool(pool, is_paused=True)
        runs = due_in(rest, deployment, *(AHEAD.total_seconds() + later for later in (0, 0, 0, 0, 5, 5)))
        foreseen = await forecast(pool)
        rest.change_pool(pool, is_paused=False)
        actual = wait_for(ended(rest, runs), seconds=120, what="the runs to end")
    assert {run["state_type"] for run in [*past, *actual]} == {"COMPLETED"}
    assert list(foreseen) == runs
    standings = [each.standing for each in foreseen.values()]
    assert standings == [Standing.WILL_START] * LIMIT + [Standing.WILL_WAIT] * (len(runs) - LIMIT)
    started = {run["id"]: at(run["start_time"]) for run in actual}
    expected = {run: each.expected_start_at for run, each in foreseen.items() if each.expected_start_at}
    in_turn = sorted(runs, key=started.__getitem__)
    generations = [runs[first : first + LIMIT] for first in range(0, len(runs), LIMIT)]
    assert [set(in_turn[first : first + LIMIT]) for first in range(0, len(runs), LIMIT)] == list(map(set, generations))
    # Between a slot that is given back and the next run's flow there is a worker that asks for work and a process that
    # starts. No forecast knows how long this takes on a machine just now, but the first runs show it.
    start_up = max(at(run["start_time"]) - at(run["expected_start_time"]) for run in past)
    for number, generation in enumerate(generations):
        for run in generation:
            assert -EARLY <= started[run] - expected[run] <= 1.5 * (number + 1) * start_up
            expected[run] += number * start_up
    due = {run: each.run.due_at for run, each in foreseen.items()}
    assert error(started, expected) < error(started, due) / 2


def error(started: dict[str, datetime], expected: dict[str, datetime]) -> float:
    """By how many seconds the starts were missed, on average."""
    return fmean(abs((started[run] - expected[run]).total_seconds()) for run in started)

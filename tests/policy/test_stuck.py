from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from flows.policy.facts import RunFacts
from flows.policy.fleet import PoolState
from flows.policy.stuck import stuck_runs
from tests.builders import NOW, ago, pending, queue, run, state, worker
from tests.strategies import states

MOMENT = timedelta(microseconds=1)
OFFLINE = (worker(last_heartbeat_at=ago(hours=1)),)


def is_stuck(each: RunFacts, **pool: Any) -> bool:
    return stuck_runs(state(active=(each,), **pool), NOW) == (each,)


@pytest.mark.parametrize("kind", ["process", "docker", "ecs:push"])
def test_a_claimed_run_looks_stuck_after_ten_minutes(kind: str) -> None:
    assert not is_stuck(pending(since=ago(minutes=10)), of={"type": kind})
    assert is_stuck(pending(since=ago(minutes=10) - MOMENT), of={"type": kind})


@pytest.mark.parametrize("workers", [(), OFFLINE])
@pytest.mark.parametrize("kind", ["process", "docker"])
def test_a_claimed_run_looks_stuck_sooner_where_no_worker_is_online(kind: str, workers: tuple[Any, ...]) -> None:
    assert not is_stuck(pending(since=ago(seconds=90)), workers=workers, of={"type": kind})
    assert is_stuck(pending(since=ago(seconds=90) - MOMENT), workers=workers, of={"type": kind})


@pytest.mark.parametrize("kind", ["ecs:push", "prefect:managed"])
def test_a_pool_that_needs_no_worker_is_never_unattended(kind: str) -> None:
    assert not is_stuck(pending(since=ago(minutes=9)), workers=(), of={"type": kind})
    assert not is_stuck(run(since=ago(days=9)), workers=(), of={"type": kind})


def test_a_pool_of_agents_is_attended_while_somebody_asks_for_its_runs() -> None:
    claimed, agents = pending(since=ago(minutes=9)), {"type": "prefect-agent"}
    assert not is_stuck(claimed, queues=(queue(last_polled_at=ago(seconds=59)),), workers=(), of=agents)
    assert is_stuck(claimed, queues=(queue(last_polled_at=ago(seconds=60)),), workers=(), of=agents)
    assert not is_stuck(run(since=ago(days=9)), queues=(), workers=(), of=agents)


def test_a_running_process_dies_with_its_worker() -> None:
    assert not is_stuck(run(since=ago(seconds=90)), workers=OFFLINE)
    assert is_stuck(run(since=ago(seconds=90) - MOMENT), workers=OFFLINE)


def test_a_running_process_with_a_worker_online_may_take_as_long_as_it_likes() -> None:
    assert not is_stuck(run(since=ago(days=9)))
    assert not is_stuck(run(since=ago(days=9)), workers=(*OFFLINE, worker("worker-2")))


@pytest.mark.parametrize("kind", ["docker", "kubernetes", "ecs"])
def test_a_running_container_goes_on_without_a_worker(kind: str) -> None:
    assert not is_stuck(run(since=ago(days=9)), workers=OFFLINE, of={"type": kind})


def test_a_run_that_nobody_ends_looks_stuck_after_ten_minutes_of_cancelling() -> None:
    fresh, old = run(since=ago(minutes=10)), run(since=ago(minutes=10) - MOMENT)
    assert stuck_runs(state(cancelling=(fresh, old)), NOW) == (old,)


@given(states())
def test_only_runs_that_hold_a_slot_or_are_being_cancelled_look_stuck(there: PoolState) -> None:
    stuck = stuck_runs(there, NOW)
    assert set(stuck) <= {*there.active, *there.cancelling}
    assert len(stuck) <= len(there.active) + len(there.cancelling)


@given(states())
def test_what_looks_stuck_still_does_later(there: PoolState) -> None:
    assert set(stuck_runs(there, NOW)) <= set(stuck_runs(there, NOW + timedelta(hours=1)))

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.failure_threshold import FailureThreshold
from flows.policy.fleet import PoolState
from flows.policy.obstacles import obstacles
from flows.policy.pool_health import Code, find
from tests.builders import NOW, ago, deployment, late, pending, queue, run, state, worker
from tests.strategies import late_runs, states


def in_the_way(each: Any = None, there: PoolState | None = None, **deployments: Any) -> tuple[str, ...]:
    return obstacles(each or late(), there or state(), deployments, NOW)


def test_nothing_stands_in_the_way_of_a_run_in_a_healthy_pool() -> None:
    assert in_the_way() == ()
    assert in_the_way(late(deployment_id="d"), d=deployment(limit=None, active=9)) == ()
    assert in_the_way(late(deployment_id="unknown")) == ()


def test_a_paused_pool_stands_in_the_way() -> None:
    assert in_the_way(there=state(of={"is_paused": True})) == ("the work pool is paused",)


@pytest.mark.parametrize("workers", [(), (worker(last_heartbeat_at=ago(hours=1)),)])
def test_a_pool_without_an_online_worker_stands_in_the_way(workers: Any) -> None:
    assert in_the_way(there=state(workers=workers)) == ("no worker is online",)


@pytest.mark.parametrize("kind", ["ecs:push", "prefect:managed"])
def test_a_pool_that_needs_no_worker_does_not(kind: str) -> None:
    assert in_the_way(there=state(workers=(), of={"type": kind})) == ()


def test_a_pool_of_agents_stands_in_the_way_where_nobody_asks_for_its_runs() -> None:
    agents = {"type": "prefect-agent"}
    assert in_the_way(there=state(queues=(queue(last_polled_at=ago(seconds=5)),), workers=(), of=agents)) == ()
    (found,) = in_the_way(there=state(queues=(queue(last_polled_at=ago(hours=1)),), workers=(), of=agents))
    assert "online" in found


def test_a_pool_with_all_its_slots_taken_stands_in_the_way_and_says_by_what() -> None:
    holders = (run("a"), pending("b", queue_id="other"))
    assert in_the_way(there=state(active=holders, of={"concurrency_limit": 3})) == ()
    full = "all 2 slots of the work pool are taken by a (Running), b (Pending)"
    assert in_the_way(there=state(active=holders, of={"concurrency_limit": 2})) == (full,)


def test_more_holders_than_limit_are_in_the_way_as_well() -> None:
    (found,) = in_the_way(there=state(active=tuple(map(run, "abcde")), of={"concurrency_limit": 1}))
    assert found.startswith("all 1 slots")
    assert found.endswith("a (Running), b (Running), c (Running) and 2 more")


def test_a_limit_of_zero_has_its_own_words() -> None:
    assert in_the_way(there=state(of={"concurrency_limit": 0})) == ("the work pool's concurrency limit is 0",)
    closed = state(queues=(queue(concurrency_limit=0),))
    assert in_the_way(there=closed) == ("the concurrency limit of work queue 'default' is 0",)


def test_a_paused_queue_stands_in_the_way_of_its_own_runs_only() -> None:
    there = state(queues=(queue(), queue("slow", is_paused=True)))
    assert in_the_way(late(queue_id="id-etl-slow"), there) == ("the work queue 'slow' is paused",)
    assert in_the_way(late(), there) == ()


def test_only_the_queues_own_runs_take_its_slots() -> None:
    there = state(queues=(queue(concurrency_limit=1), queue("other")), active=(run("a", queue_id="id-etl-other"),))
    assert in_the_way(late(), there) == ()
    there = state(queues=(queue(concurrency_limit=1),), active=(run("a"),))
    assert in_the_way(late(), there) == ("all 1 slots of work queue 'default' are taken by a (Running)",)


@pytest.mark.parametrize("queue_id", ["id-etl-gone", None])
def test_a_queue_that_is_gone_stands_in_the_way(queue_id: str | None) -> None:
    assert in_the_way(late(queue_id=queue_id)) == ("its work queue no longer exists",)


def test_a_deployments_own_limit_stands_in_the_way_once_it_is_reached() -> None:
    assert in_the_way(late(deployment_id="d"), d=deployment(limit=2, active=1)) == ()
    reached = ("the deployment's concurrency limit of 2 is reached",)
    assert in_the_way(late(deployment_id="d"), d=deployment(limit=2, active=2)) == reached
    assert in_the_way(late(deployment_id="d"), d=deployment(limit=2, active=3)) == reached


def test_everything_in_the_way_is_said_the_pool_first() -> None:
    there = state(workers=(), queues=(queue(is_paused=True),), of={"is_paused": True, "concurrency_limit": 0})
    assert in_the_way(late(deployment_id="d"), there, d=deployment(limit=0)) == (
        "the work pool is paused",
        "no worker is online",
        "the work pool's concurrency limit is 0",
        "the work queue 'default' is paused",
        "the deployment's concurrency limit is 0",
    )


@given(states(), st.data())
def test_what_the_inventory_finds_to_stop_a_pool_stands_in_the_way_of_its_runs(
    there: PoolState, data: st.DataObject
) -> None:
    stops = {Code.PAUSED, Code.NO_ONLINE_WORKER, Code.SATURATED}
    expected = [finding for finding in find(there, NOW, FailureThreshold()) if finding.code in stops]
    for each in data.draw(late_runs(there)):
        found = [words for words in obstacles(each, there, {}, NOW) if "queue" not in words]
        assert len(found) >= len(expected)

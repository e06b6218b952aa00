from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.facts import DeploymentFacts, TemplateFacts
from flows.policy.failure_threshold import FailureThreshold
from flows.policy.fleet import PoolState
from flows.policy.lease import with_note
from flows.policy.pause_note import with_pause
from flows.policy.pool_health import ADVICE, Code, decide_findings, find, find_in_fleet
from flows.policy.stuck import stuck_runs
from tests.builders import NOW, ago, deployment, fleet, pending, queue, run, state, worker
from tests.strategies import deployments_without_pool, fleets, states

MOMENT = timedelta(microseconds=1)
WITHOUT_WORKERS = ["ecs:push", "cloud-run:push", "prefect:managed"]
OF_FLEET = {Code.ORPHANED_DEPLOYMENTS, Code.ORPHANED_RUNS}


def codes(there: PoolState) -> set[Code]:
    return {finding.code for finding in find(there, NOW, FailureThreshold())}


def has(code: Code, **changed: Any) -> bool:
    return code in codes(state(**changed))


def words(code: Code, **changed: Any) -> str:
    (text,) = (finding.text for finding in find(state(**changed), NOW, FailureThreshold()) if finding.code is code)
    return text


def test_a_healthy_pool_has_no_findings() -> None:
    assert find(state(finished=10), NOW, FailureThreshold()) == ()


def test_a_paused_pool_is_found() -> None:
    assert codes(state(of={"is_paused": True})) == {Code.PAUSED}


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes", "ecs"])
def test_a_pool_without_an_online_worker_is_found(kind: str) -> None:
    assert codes(state(workers=(), of={"type": kind})) == {Code.NO_ONLINE_WORKER}
    assert codes(state(of={"type": kind})) == set()


def test_a_worker_is_online_until_it_missed_three_heartbeats() -> None:
    assert has(Code.NO_ONLINE_WORKER, workers=(worker(last_heartbeat_at=ago(seconds=90)),))
    assert not has(Code.NO_ONLINE_WORKER, workers=(worker(last_heartbeat_at=ago(seconds=90) + MOMENT),))
    slow = worker(last_heartbeat_at=ago(minutes=14), heartbeat=timedelta(minutes=5))
    assert not has(Code.NO_ONLINE_WORKER, workers=(slow,))
    assert has(Code.NO_ONLINE_WORKER, workers=(replace(slow, last_heartbeat_at=ago(minutes=15)),))


def test_one_online_worker_is_enough() -> None:
    silent = (worker("a", last_heartbeat_at=None), worker("b", last_heartbeat_at=ago(days=1)))
    assert has(Code.NO_ONLINE_WORKER, workers=silent)
    assert not has(Code.NO_ONLINE_WORKER, workers=(*silent, worker("c")))
    assert "2 known, all offline" in words(Code.NO_ONLINE_WORKER, workers=silent)


@pytest.mark.parametrize("kind", WITHOUT_WORKERS)
def test_a_push_or_managed_pool_needs_no_worker(kind: str) -> None:
    assert codes(state(workers=(), of={"type": kind})) == set()


def test_a_pool_of_agents_needs_somebody_who_asks_for_its_runs() -> None:
    agents = {"type": "prefect-agent", "status": None}
    for asked, expected in ((None, True), (ago(seconds=60), True), (ago(seconds=60) + MOMENT, False)):
        queues = (queue("old", last_polled_at=ago(days=1)), queue(last_polled_at=asked))
        assert has(Code.NO_ONLINE_WORKER, workers=(), queues=queues, of=agents) is expected
    assert has(Code.NO_ONLINE_WORKER, workers=(), queues=(), of=agents)


def test_a_limit_of_zero_is_found_on_the_pool_and_on_its_queues() -> None:
    assert codes(state(of={"concurrency_limit": 0})) == {Code.LIMIT_ZERO}
    assert codes(state(queues=(queue(concurrency_limit=0), queue("b")))) == {Code.LIMIT_ZERO}
    assert not has(Code.LIMIT_ZERO, queues=(queue(concurrency_limit=1),), of={"concurrency_limit": 1})
    both = words(Code.LIMIT_ZERO, queues=(queue("slow", concurrency_limit=0),), of={"concurrency_limit": 0})
    assert "the pool, queue 'slow'" in both


def test_a_paused_queue_is_found_by_name() -> None:
    assert codes(state(queues=(queue(), queue("slow", is_paused=True)))) == {Code.QUEUE_PAUSED}
    assert "'slow'" in words(Code.QUEUE_PAUSED, queues=(queue(), queue("slow", is_paused=True)))


@pytest.mark.parametrize(("late", "text"), [(1, "1 late run"), (2, "2 late runs")])
def test_late_runs_are_found_and_counted(late: int, text: str) -> None:
    assert codes(state(late=late)) == {Code.LATE_RUNS}
    assert words(Code.LATE_RUNS, late=late) == text


def test_a_pool_is_saturated_from_its_limit_on() -> None:
    busy = tuple(map(run, "abc"))
    assert not has(Code.SATURATED, active=busy, of={"concurrency_limit": 4})
    assert has(Code.SATURATED, active=busy, of={"concurrency_limit": 3})
    assert has(Code.SATURATED, active=busy, of={"concurrency_limit": 2})


@pytest.mark.parametrize("limit", [None, 0])
def test_a_pool_without_a_limit_or_with_none_to_fill_is_never_saturated(limit: int | None) -> None:
    assert not has(Code.SATURATED, active=tuple(map(run, "abc")), of={"concurrency_limit": limit})
    assert not has(Code.SATURATED, of={"concurrency_limit": limit})


def test_a_stuck_run_is_found_and_the_oldest_is_named() -> None:
    stuck = (pending("newer", since=ago(minutes=20)), pending("older", since=ago(hours=2)))
    assert codes(state(active=stuck)) == {Code.STUCK_RUNS}
    assert words(Code.STUCK_RUNS, active=stuck) == (
        "2 runs without sign of life; older is Pending since 2026-03-29 10:00 UTC"
    )
    assert not has(Code.STUCK_RUNS, active=(pending(since=ago(minutes=10)),))


def test_a_run_that_is_cancelling_for_too_long_is_found() -> None:
    assert codes(state(cancelling=(run(state_type="CANCELLING", since=ago(hours=1)),))) == {Code.STUCK_RUNS}
    assert codes(state(cancelling=(run(state_type="CANCELLING", since=ago(minutes=1)),))) == set()


def test_a_failing_pool_is_found_where_enough_runs_ended() -> None:
    assert codes(state(finished=10, failed=5)) == {Code.FAILING}
    assert codes(state(finished=10, failed=4)) == set()
    assert codes(state(finished=9, failed=9)) == set()
    assert words(Code.FAILING, finished=10, failed=5) == "5 of 10 runs failed (50%, threshold 50%)"


def test_a_secret_in_the_template_is_found_by_its_place() -> None:
    template = TemplateFacts(digest="0" * 64, secrets=("variables.env.DB_PASSWORD",))
    assert codes(state(of={"template": template})) == {Code.SECRET_IN_TEMPLATE}
    assert "variables.env.DB_PASSWORD" in words(Code.SECRET_IN_TEMPLATE, of={"template": template})


def test_a_pool_without_a_limit_is_found_and_that_is_only_advice() -> None:
    assert codes(state(of={"concurrency_limit": None})) == {Code.NO_CONCURRENCY_LIMIT}
    assert Code.NO_CONCURRENCY_LIMIT in ADVICE


@pytest.mark.parametrize("kind", WITHOUT_WORKERS)
def test_a_pool_that_nobody_uses_is_idle(kind: str) -> None:
    assert codes(state(deployments=0, workers=(), of={"type": kind})) == {Code.IDLE}
    assert codes(state(deployments=0, workers=())) == {Code.IDLE, Code.NO_ONLINE_WORKER}


@pytest.mark.parametrize(
    "used",
    [
        {"deployments": 1},
        {"finished": 1},
        {"late": 1},
        {"active": (run(),)},
        {"cancelling": (run(),)},
        {"workers": (worker(),)},
    ],
)
def test_a_pool_that_anybody_uses_is_not_idle(used: dict[str, Any]) -> None:
    assert not has(Code.IDLE, **{"deployments": 0, "workers": (), **used})


@given(states(), st.integers(1, 20), st.floats(0.01, 1))
def test_every_pool_can_be_judged(there: PoolState, minimum_runs: int, failure_rate: float) -> None:
    found = find(there, NOW, FailureThreshold(failure_rate=failure_rate, minimum_runs=minimum_runs))
    order = [list(Code).index(finding.code) for finding in found]
    assert order == sorted(set(order))
    assert not {finding.code for finding in found} & OF_FLEET
    assert all(finding.text for finding in found)


@given(states())
def test_each_code_stands_exactly_where_its_condition_does(there: PoolState) -> None:
    pool, limit, online = there.pool, there.pool.concurrency_limit, there.workers_online(NOW)
    unpolled = all(q.last_polled_at is None or q.last_polled_at <= ago(seconds=60) for q in there.queues)
    used = there.deployments or there.finished or there.late or there.active or there.cancelling or online
    expected = {
        Code.PAUSED: pool.is_paused,
        Code.NO_ONLINE_WORKER: unpolled if pool.type == "prefect-agent" else pool.has_workers and not online,
        Code.LIMIT_ZERO: 0 in (limit, *(q.concurrency_limit for q in there.queues)),
        Code.STUCK_RUNS: bool(stuck_runs(there, NOW)),
        Code.FAILING: there.finished >= 10 and there.failed * 2 >= there.finished,
        Code.LATE_RUNS: there.late > 0,
        Code.SATURATED: limit not in (None, 0) and len(there.active) >= limit,
        Code.QUEUE_PAUSED: any(q.is_paused for q in there.queues),
        Code.SECRET_IN_TEMPLATE: bool(pool.template.secrets),
        Code.NO_CONCURRENCY_LIMIT: limit is None,
        Code.IDLE: not used,
    }
    assert codes(there) == {code for code, is_so in expected.items() if is_so}


@given(st.lists(deployments_without_pool, max_size=5))
def test_every_fleet_can_be_judged(without_pool: list[DeploymentFacts]) -> None:
    found = find_in_fleet(fleet(without_pool=tuple(without_pool)), NOW)
    assert [finding.code for finding in found] in (
        [],
        [Code.ORPHANED_DEPLOYMENTS],
        [Code.ORPHANED_DEPLOYMENTS, Code.ORPHANED_RUNS],
    )


def test_deployments_without_a_pool_are_found_in_the_fleet() -> None:
    one = find_in_fleet(fleet(without_pool=(deployment("flow/a"),)), NOW)
    assert [(each.code, each.text) for each in one] == [
        (Code.ORPHANED_DEPLOYMENTS, "1 deployment without a work pool: flow/a")
    ]


def test_their_scheduled_runs_are_counted() -> None:
    orphans = (deployment("flow/a", scheduled_runs=2), deployment("flow/b", scheduled_runs=3))
    texts = [finding.text for finding in find_in_fleet(fleet(without_pool=orphans), NOW)]
    assert texts == ["2 deployments without a work pool: flow/a, flow/b", "5 scheduled runs of theirs can never start"]


def test_only_a_few_of_many_are_named() -> None:
    orphans = tuple(deployment(f"flow/{letter}") for letter in "abcde")
    (finding,) = find_in_fleet(fleet(without_pool=orphans), NOW)
    assert finding.text == "5 deployments without a work pool: flow/a, flow/b, flow/c and 2 more"


def test_a_fleet_without_orphans_has_no_findings() -> None:
    served = deployment(last_polled_at=ago(seconds=5), scheduled_runs=9)
    assert find_in_fleet(fleet(without_pool=(served,)), NOW) == ()
    assert find_in_fleet(fleet(state()), NOW) == ()


@given(fleets())
def test_the_inventorys_plan_leaves_every_pool_alone_and_says_why(states: list[PoolState]) -> None:
    there = fleet(*states)
    findings = {each.pool.name: find(each, NOW, FailureThreshold()) for each in states}
    plan = decide_findings(there, findings)
    assert plan.actions == ()
    assert [verdict.target.id for verdict in plan.verdicts] == [each.pool.id for each in states]
    assert all(verdict.reason for verdict in plan.verdicts)


def test_a_pool_that_auto_pause_paused_says_why_and_until_when() -> None:
    words = "paused by pool-auto-pause until 12:30. Why: 5 of 10 runs failed."
    there = state(of={"is_paused": True, "description": with_note("Nightly loads", words, "0123abcd.1")})
    assert next(each.text for each in find(there, NOW, FailureThreshold()) if each.code is Code.PAUSED) == words


def test_a_pool_that_a_person_paused_by_hand_says_who_and_why() -> None:
    words = "paused on 2026-03-29 11:00:00 UTC by Ann. Why: database upgrade. To end it, resume it."
    there = state(of={"is_paused": True, "description": with_pause("Nightly loads", words, "0123abcd")})
    assert next(each.text for each in find(there, NOW, FailureThreshold()) if each.code is Code.PAUSED) == words

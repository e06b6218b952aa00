from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.cleanup.kinds import RULE, Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.cleanup.unused import SeenQueue, SeenWorker, decide_empty_queues, decide_offline_workers
from flows.policy.facts import POLLED_RECENTLY
from flows.policy.plan import Kind, Verb
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from tests.builders import NOW, ago, pool
from tests.strategies import names

OWN = "management"
POOLS = ("etl", "gpu", OWN)
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)


def scope(**retention: Any) -> Scope:
    selection = select_pools(["*"], [], POOLS)
    chosen = tuple(pool(name) for name in POOLS)
    return Scope(selection, chosen, Retention(**retention), Protection(pools=frozenset({OWN})), NOW)


def seen_worker(name: str = "worker-1", **changed: Any) -> SeenWorker:
    """A worker that has gone two days ago."""
    return replace(SeenWorker(f"id-{name}", name, "etl", "id-etl", seen_at=ago(days=2)), **changed)


def seen_queue(name: str = "fast", **changed: Any) -> SeenQueue:
    """A queue that nothing uses."""
    return replace(SeenQueue(f"id-{name}", name, "etl", is_default=False), **changed)


def told(*queues: SeenQueue) -> dict[str, tuple[Verb, str]]:
    found = decide_empty_queues(queues, scope())
    return {verdict.target.name: (verdict.verb, verdict.reason) for verdict in found.verdicts}


def deleted(*queues: SeenQueue) -> set[str]:
    return {name for name, (verb, _) in told(*queues).items() if verb is Verb.DELETE}


moments = st.integers(-3, 72).map(lambda hours: NOW - timedelta(hours=hours))
polls = st.sampled_from([None, NOW, ago(seconds=10), ago(minutes=5), ago(days=3)])
some_pools = st.sampled_from(POOLS)
workers = st.lists(
    st.builds(SeenWorker, id=st.uuids().map(str), name=names, pool=some_pools, seen_at=moments), max_size=8
)
queues = st.lists(
    st.builds(
        SeenQueue,
        id=st.uuids().map(str),
        name=st.sampled_from("abcdef"),
        pool=some_pools,
        is_default=st.sampled_from([False, False, True]),
        deployments=st.sampled_from([0, 0, 2]),
        runs=st.sampled_from([0, 0, 3]),
        last_polled_at=polls,
    ),
    max_size=8,
    unique_by=lambda queue: (queue.pool, queue.name),
)
hours = st.integers(1, 70)


def test_deletes_a_worker_that_was_not_seen_for_long_and_says_since_when() -> None:
    (verdict,) = decide_offline_workers([seen_worker("w | 1")], scope()).verdicts
    assert (verdict.verb, verdict.reason) == (Verb.DELETE, "last seen 2 d ago")
    assert (verdict.target.kind, verdict.target.name, verdict.target.id) == (Kind.WORKER, "etl/w | 1", "id-w | 1")
    assert verdict.target.pool == "etl"
    assert verdict.numbers == {RULE: "offline-workers", "silent_hours": 48.0}


def test_counts_a_younger_worker_with_the_reason_it_is_left() -> None:
    found = decide_offline_workers([seen_worker(seen_at=ago(hours=1))], scope())
    assert (found.verdicts, found.left) == ((), {"seen within 1 d": 1})


@pytest.mark.parametrize("longer", [timedelta(0), -MOMENT])
def test_leaves_a_worker_that_was_silent_for_no_longer_than_allowed(longer: timedelta) -> None:
    assert decide_offline_workers([seen_worker(seen_at=NOW - DAY - longer)], scope()).verdicts == ()
    assert decide_offline_workers([seen_worker(seen_at=NOW - DAY - MOMENT)], scope()).verdicts


def test_leaves_a_worker_whose_heartbeat_lies_after_the_servers_clock() -> None:
    assert decide_offline_workers([seen_worker(seen_at=NOW + DAY)], scope()).verdicts == ()


def test_leaves_a_worker_of_the_keepers_own_pool_and_says_why() -> None:
    (verdict,) = decide_offline_workers([seen_worker(pool=OWN)], scope()).verdicts
    assert (verdict.verb, verdict.reason) == (Verb.LEAVE, "work pool 'management' runs Poolkeeper itself")


def test_a_worker_that_has_been_gone_for_longest_goes_first() -> None:
    there = [seen_worker("b", seen_at=ago(days=3)), seen_worker("c"), seen_worker("a", seen_at=ago(days=9))]
    assert [each.target.name for each in decide_offline_workers(there, scope()).verdicts] == [
        "etl/a",
        "etl/b",
        "etl/c",
    ]


def test_no_worker_is_no_verdict_and_no_count() -> None:
    found = decide_offline_workers([], scope())
    assert (found.verdicts, found.left) == ((), {})


@given(workers, hours)
def test_every_worker_has_a_verdict_or_is_counted(there: Sequence[SeenWorker], limit: int) -> None:
    found = decide_offline_workers(there, scope(offline_worker_hours=limit))
    assert len(found.verdicts) + sum(found.left.values()) == len(there)
    assert all(found.left.values())


@given(workers, hours)
def test_exactly_the_workers_that_are_silent_for_longer_and_not_protected_go(
    there: Sequence[SeenWorker], limit: int
) -> None:
    found = decide_offline_workers(there, scope(offline_worker_hours=limit))
    gone = {verdict.target.id for verdict in found.verdicts if verdict.verb is Verb.DELETE}
    longest = timedelta(hours=limit)
    assert gone == {each.id for each in there if NOW - each.seen_at > longest and each.pool != OWN}


@given(workers, hours, hours)
def test_a_longer_time_never_deletes_more_workers(there: Sequence[SeenWorker], one: int, other: int) -> None:
    def gone(limit: int) -> set[str]:
        found = decide_offline_workers(there, scope(offline_worker_hours=limit))
        return {verdict.target.id for verdict in found.verdicts if verdict.verb is Verb.DELETE}

    assert gone(max(one, other)) <= gone(min(one, other))


@given(workers, st.randoms(use_true_random=False))
def test_the_order_in_which_workers_are_read_does_not_matter(there: list[SeenWorker], random: Any) -> None:
    decided = decide_offline_workers(there, scope())
    random.shuffle(there)
    assert decide_offline_workers(there, scope()) == decided


@given(workers)
def test_a_second_look_finds_no_worker_to_delete(there: Sequence[SeenWorker]) -> None:
    gone = {each.target.id for each in decide_offline_workers(there, scope()).verdicts if each.verb is Verb.DELETE}
    again = decide_offline_workers([worker for worker in there if worker.id not in gone], scope())
    assert all(verdict.verb is Verb.LEAVE for verdict in again.verdicts)


def test_deletes_a_queue_that_has_nothing_in_it_and_says_so() -> None:
    (verdict,) = decide_empty_queues([seen_queue("a | b")], scope()).verdicts
    assert (verdict.verb, verdict.reason) == (Verb.DELETE, "0 deployments, no run lately")
    assert (verdict.target.kind, verdict.target.name, verdict.target.id) == (Kind.QUEUE, "etl/a | b", "id-a | b")
    assert verdict.target.pool == "etl"
    assert verdict.numbers[RULE] == "empty-queues"


def test_never_deletes_the_default_queue_of_a_pool() -> None:
    found = decide_empty_queues([seen_queue("default", is_default=True)], scope())
    assert (found.verdicts, found.left) == ((), {"the default queue of its work pool": 1})


def test_a_queue_that_is_only_called_default_is_judged_like_any_other() -> None:
    """A pool's default queue may be renamed, and another one be called `default`."""
    there = [seen_queue("default"), seen_queue("renamed", is_default=True)]
    assert deleted(*there) == {"etl/default"}


@pytest.mark.parametrize("changed", [{"deployments": 1}, {"runs": 1}, {"deployments": 3, "runs": 9}])
def test_leaves_a_queue_alone_that_has_a_deployment_or_a_run_that_has_not_ended(changed: dict[str, Any]) -> None:
    found = decide_empty_queues([seen_queue(**changed)], scope())
    assert (found.verdicts, found.left) == ((), {"in use": 1})


def test_leaves_a_queue_of_the_keepers_own_pool_and_says_why() -> None:
    assert told(seen_queue("x", pool=OWN))[f"{OWN}/x"] == (
        Verb.LEAVE,
        "work pool 'management' runs Poolkeeper itself",
    )


def test_leaves_a_queue_that_a_worker_asks_by_its_name() -> None:
    default = seen_queue("default", is_default=True, last_polled_at=ago(minutes=5))
    asked = seen_queue("fast", last_polled_at=ago(seconds=5))
    assert told(default, asked, seen_queue("slow")) == {
        "etl/fast": (Verb.LEAVE, "nothing is in it, but a worker asks it by name for work"),
        "etl/slow": (Verb.DELETE, "0 deployments, no run lately"),
    }


def test_a_worker_that_asks_every_queue_of_its_pool_keeps_none_of_them() -> None:
    there = [seen_queue(name, last_polled_at=ago(seconds=5), is_default=name == "default") for name in ("default", "a")]
    assert deleted(*there) == {"etl/a"}


def test_which_queues_are_asked_in_another_pool_says_nothing() -> None:
    there = [seen_queue("a", last_polled_at=NOW), seen_queue("b", pool="gpu")]
    assert deleted(*there) == {"etl/a", "gpu/b"}


@pytest.mark.parametrize(("before", "is_polled"), [(POLLED_RECENTLY, False), (POLLED_RECENTLY - MOMENT, True)])
def test_a_queue_counts_as_asked_for_a_minute(before: timedelta, is_polled: bool) -> None:
    asked = seen_queue("fast", last_polled_at=NOW - before)
    assert asked.is_polled(NOW) is is_polled
    assert ("etl/fast" in deleted(asked, seen_queue("slow"))) is not is_polled


@given(queues)
def test_every_queue_has_a_verdict_or_is_counted(there: Sequence[SeenQueue]) -> None:
    found = decide_empty_queues(there, scope())
    assert len(found.verdicts) + sum(found.left.values()) == len(there)
    assert len({verdict.target for verdict in found.verdicts}) == len(found.verdicts)
    assert all(verdict.reason for verdict in found.verdicts)


@given(queues)
def test_a_queue_in_use_a_default_one_and_a_protected_one_never_go(there: Sequence[SeenQueue]) -> None:
    gone = {
        verdict.target.id for verdict in decide_empty_queues(there, scope()).verdicts if verdict.verb is Verb.DELETE
    }
    for queue in there:
        if queue.id in gone:
            assert (queue.is_default, queue.deployments, queue.runs) == (False, 0, 0)
            assert queue.pool != OWN


@given(queues, st.randoms(use_true_random=False))
def test_the_order_in_which_queues_are_read_does_not_matter(there: list[SeenQueue], random: Any) -> None:
    decided = decide_empty_queues(there, scope())
    random.shuffle(there)
    assert decide_empty_queues(there, scope()) == decided


@given(queues)
def test_a_queue_that_nobody_asked_recently_goes_exactly_where_nothing_is_in_it(there: Sequence[SeenQueue]) -> None:
    quiet = [replace(queue, last_polled_at=None) for queue in there]
    empty = {
        f"{queue.pool}/{queue.name}"
        for queue in quiet
        if not (queue.is_default or queue.deployments or queue.runs or queue.pool == OWN)
    }
    assert deleted(*quiet) == empty


@given(queues, st.integers(0, 7))
def test_more_use_of_a_queue_never_deletes_it(there: list[SeenQueue], index: int) -> None:
    if not there:
        return
    one = there[index % len(there)]
    used = [replace(each, runs=each.runs + 1) if each is one else each for each in there]
    assert f"{one.pool}/{one.name}" not in deleted(*used)
    assert deleted(*used) <= deleted(*there)

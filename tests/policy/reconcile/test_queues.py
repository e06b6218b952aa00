"""The priorities of work queues: right in the end, as Prefect moves the others on."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.plan import Verb
from flows.policy.reconcile.facts import QueueThere
from flows.policy.reconcile.queues import decide_queues, first_free, pushed
from tests.specs import queue, queue_specs, queues_there, spec

PRIORITIES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9)).filter(
    lambda found: len(set(found.values())) == len(found)
)


@given(PRIORITIES, st.sampled_from("abcdefg"), st.integers(1, 9))
def test_pushing_gives_the_asked_priority_keeps_all_different_and_the_others_in_order(
    priorities: dict[str, int], name: str, asked: int
) -> None:
    after = pushed(priorities, name, asked)
    assert after[name] == asked
    assert len(set(after.values())) == len(after)
    others = [each for each in priorities if each != name]
    assert sorted(others, key=lambda each: after[each]) == sorted(others, key=lambda each: priorities[each])
    assert all(after[each] == priorities[each] for each in others if priorities[each] < asked)


@given(PRIORITIES)
def test_a_free_priority_is_the_first_that_nobody_has(priorities: dict[str, int]) -> None:
    free = first_free(priorities)
    assert free not in priorities.values()
    assert set(range(1, free)) <= set(priorities.values())


@given(queue_specs(), queues_there("etl"))
def test_the_order_in_which_named_priorities_are_written_does_not_matter(
    wanted: list[dict[str, Any]], has: tuple[QueueThere, ...]
) -> None:
    named = [each for each in wanted if "priority" in each]
    forwards, backwards = (spec({"name": "etl", "queues": each}).pools[0] for each in (named, named[::-1]))
    assert decide_queues(forwards, has) == decide_queues(backwards, has)


def test_a_queue_that_another_one_will_push_on_is_set_back() -> None:
    has = (queue("default", 1), queue("a", 2), queue("b", 3))
    wanted = [{"name": "a", "priority": 2}, {"name": "b", "priority": 1}]
    steps = decide_queues(spec({"name": "etl", "queues": wanted}).pools[0], has)
    assert [(step.target.name, step.verb, step.reason) for step in steps] == [
        ("etl/b", Verb.CHANGE, "priority 3 → 1"),
        ("etl/a", Verb.CHANGE, "priority 3 → 2"),
        ("etl/default", Verb.LEAVE, "unmanaged: not in the spec"),
    ]

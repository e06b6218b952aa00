from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.forecast import Standing
from flows.policy.plan import Verb
from flows.policy.preview import decide_preview, foresee
from flows.policy.time_zone import UnknownTimezone
from flows.policy.upcoming import Source, UpcomingRun
from tests.builders import NOW, ago, coming, deployment, question, schedule, state, upcoming, upcoming_facts, zombie

LIMITS = st.none() | st.integers(0, 3)


def runs(number: int) -> tuple[UpcomingRun, ...]:
    return tuple(upcoming(f"run-{each}", due_at=coming(minutes=1)) for each in range(number))


def test_a_time_zone_nobody_has_is_refused() -> None:
    with pytest.raises(UnknownTimezone, match="'Europe/Berlin'"):
        question(timezone="Europe/Berlim").check()


def test_what_has_been_made_and_what_will_be_stand_in_one_order() -> None:
    made = upcoming(due_at=coming(hours=2))
    facts = upcoming_facts(state(), made=(made,), schedules=(schedule(coming(hours=1), coming(hours=3)),))
    found = foresee(facts, question()).expectations
    assert [each.run.due_at for each in found] == [coming(hours=1), coming(hours=2), coming(hours=3)]
    assert [each.run.source for each in found] == [Source.PROJECTED, Source.SCHEDULED, Source.PROJECTED]


def test_what_if_another_limit_changes_who_waits_and_keeps_what_is() -> None:
    facts = upcoming_facts(state(of={"concurrency_limit": 1}), made=runs(3))
    (as_it_is,) = foresee(facts, question()).pools
    (asked,) = foresee(facts, question(what_if_limit=3)).pools
    assert (as_it_is.longest_wait, as_it_is.count(Standing.WILL_WAIT)) == (timedelta(minutes=2), 2)
    assert (asked.longest_wait, asked.count(Standing.WILL_WAIT)) == (timedelta(0), 0)
    assert asked.longest_wait_as_it_is == as_it_is.longest_wait
    assert asked.sizing == as_it_is.sizing


@pytest.mark.parametrize("limit", [0, None])
def test_what_if_also_stands_in_for_a_limit_of_zero_or_none(limit: int | None) -> None:
    facts = upcoming_facts(state(of={"concurrency_limit": limit}), made=runs(2))
    (asked,) = foresee(facts, question(what_if_limit=1)).pools
    assert [each.standing for each in asked.expectations] == ["will-start", "will-wait"]


def test_what_has_no_pool_is_blocked_or_late() -> None:
    lost = upcoming("a", pool=None, queue_id=None), upcoming("b", pool=None, queue_id=None, due_at=ago(hours=1))
    found = foresee(upcoming_facts(state(), made=lost), question()).without_pool
    assert {each.run.name: each.standing for each in found} == {"a": Standing.BLOCKED, "b": Standing.LATE}
    assert all("no work pool" in each.reason for each in found)


def test_a_run_of_a_pool_that_came_or_went_meanwhile_is_not_lost() -> None:
    (found,) = foresee(upcoming_facts(state(), made=(upcoming(pool="new"),)), question()).expectations
    assert found.standing is Standing.BLOCKED
    assert "while this was read" in found.reason


def test_dates_beyond_those_listed_are_counted() -> None:
    facts = upcoming_facts(state(), schedules=(schedule(coming(hours=1), beyond=7),))
    assert foresee(facts, question()).beyond == 7


def test_nothing_is_called_quiet_after_the_last_run_that_is_listed() -> None:
    facts = upcoming_facts(state(), schedules=(schedule(coming(hours=1), coming(hours=2), beyond=1),))
    foreseen = foresee(facts, question())
    assert foreseen.quiet(foreseen.pools) == ((NOW, coming(hours=1)), (coming(hours=1, minutes=1), coming(hours=2)))


def test_a_pool_is_quiet_when_nothing_is_due_or_runs() -> None:
    facts = upcoming_facts(
        state(), made=(upcoming(due_at=coming(hours=3)),), past={"id-flow/nightly": (timedelta(hours=1),)}
    )
    foreseen = foresee(facts, question(hours=6))
    assert foreseen.quiet(foreseen.pools) == ((NOW, coming(hours=3)), (coming(hours=4), coming(hours=6)))


def test_a_pool_whose_slot_is_held_for_good_is_never_quiet_and_says_when_it_is_least_busy() -> None:
    facts = upcoming_facts(state(active=(zombie(),)), made=(upcoming(due_at=coming(minutes=5)),))
    foreseen = foresee(facts, question(hours=3))
    assert foreseen.quiet(foreseen.pools) == ()
    assert foreseen.least_busy(foreseen.pools) == (coming(hours=1), coming(hours=2), 1)


def test_slots_are_wanted_when_runs_are_due_whatever_the_limit() -> None:
    facts = upcoming_facts(state(of={"concurrency_limit": 1}), made=runs(3))
    foreseen = foresee(facts, question(hours=2))
    assert foreseen.slots_wanted(foreseen.pools[0]) == (3, 0)


@given(st.lists(st.tuples(st.integers(-60, 600), st.sampled_from(["etl", "ml", None])), max_size=9), LIMITS, LIMITS)
def test_every_run_is_in_the_preview_once(due: list[tuple[int, str | None]], one: int | None, two: int | None) -> None:
    made = tuple(
        upcoming(f"run-{number}", due_at=coming(minutes=minutes), pool=pool, queue_id=pool and f"id-{pool}-default")
        for number, (minutes, pool) in enumerate(due)
    )
    states = state(of={"concurrency_limit": one}), state("ml", of={"concurrency_limit": two})
    foreseen = foresee(upcoming_facts(*states, made=made), question())
    assert sorted(each.run.name for each in foreseen.expectations) == sorted(each.name for each in made)
    assert foreseen.unlisted == 0
    plan = decide_preview(foreseen)
    assert {verdict.verb for verdict in plan.verdicts} == {Verb.LEAVE}
    counted = sum(int(verdict.numbers[each] or 0) for verdict in plan.verdicts for each in Standing)
    assert counted == sum(pool is not None for _, pool in due)


def test_a_deployment_is_known_by_its_own_past_only() -> None:
    other = deployment("flow/other", pool="etl", queue_id="id-etl-default")
    made = (upcoming("a"), upcoming("b", deployment_id=other.id))
    (pool,) = foresee(upcoming_facts(state(), deployments=[other], made=made), question()).pools
    assert pool.demand.unknown == ("flow/other",)
    assert pool.demand.past_runs == 1

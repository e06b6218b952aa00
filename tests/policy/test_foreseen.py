from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.forecast import Standing
from flows.policy.foreseen import MAINTENANCE, Preview
from flows.policy.plan import Kind
from flows.policy.preview import RUNS_LISTED, decide_preview, foresee
from flows.policy.upcoming import UpcomingFacts, UpcomingRun
from tests.builders import NOW, ago, coming, deployment, question, run, schedule, state, upcoming, upcoming_facts

POOLS = ("etl", "ml")
LIMITS = st.none() | st.integers(0, 3)
MINUTE = timedelta(minutes=1)


def of(pool: str | None, name: str, minutes: int) -> UpcomingRun:
    """A run that takes an hour, on the default queue of that pool."""
    return upcoming(name, due_at=coming(minutes=minutes), pool=pool, queue_id=pool and f"id-{pool}-default")


@st.composite
def facts_to_come(draw: st.DrawFn) -> UpcomingFacts:
    """Runs on two pools and on none, with a schedule that may have more dates than are listed."""
    due = draw(st.lists(st.tuples(st.sampled_from([*POOLS, None]), st.integers(-90, 700)), max_size=6))
    dates = sorted(draw(st.sets(st.integers(1, 700), max_size=3)))
    return upcoming_facts(
        *(
            state(
                name,
                of={"concurrency_limit": draw(LIMITS), "is_paused": draw(st.booleans())},
                active=(run(pool=name, queue_id=f"id-{name}-default"),) * draw(st.integers(0, 1)),
            )
            for name in POOLS
        ),
        deployments=[deployment(pool="etl", queue_id="id-etl-default")],
        made=tuple(of(pool, f"run-{number}", minutes) for number, (pool, minutes) in enumerate(due)),
        schedules=(schedule(*map(coming_minutes, dates), beyond=draw(st.integers(0, 2)) if dates else 0),),
        past={"id-flow/nightly": (timedelta(hours=1),)},
    )


def coming_minutes(minutes: int) -> datetime:
    return coming(minutes=minutes)


def in_use(preview: Preview, at: datetime) -> int:
    """How many slots are in use then, if each run started when it is due."""
    lasting = timedelta(hours=1)
    runs = [each for pool in preview.pools for each in pool.demand.runs]
    # Of whoever holds a slot now nobody knows how long that takes: a moment, as a lower bound.
    held = sum(len(pool.state.active) for pool in preview.pools) if at < coming(seconds=1) else 0
    return held + sum(max(each.due_at, NOW) <= at < max(each.due_at, NOW) + lasting for each in runs)


@given(facts_to_come(), LIMITS)
def test_the_runs_of_all_pools_and_of_none_are_all_runs(facts: UpcomingFacts, limit: int | None) -> None:
    preview = foresee(facts, question(what_if_limit=limit))
    parts = [*preview.without_pool, *(each for pool in preview.pools for each in pool.expectations)]
    assert Counter(each.run for each in parts) == Counter(each.run for each in preview.expectations)
    assert len(parts) == len(facts.made) + sum(len(each.dates) for each in facts.schedules)
    assert all(each.run.pool == pool.state.pool.name for pool in preview.pools for each in pool.expectations)
    due = [each.run.due_at for each in preview.expectations]
    assert due == sorted(due)


@given(facts_to_come(), st.integers(0, 4))
def test_what_if_tells_what_a_preview_would_tell_if_the_limit_were_that_one(facts: UpcomingFacts, limit: int) -> None:
    changed = upcoming_facts(
        *(state(each.pool.name, of={"concurrency_limit": limit, "is_paused": each.pool.is_paused}, active=each.active)
          for each in facts.pools),
        made=facts.made, schedules=facts.schedules, past=facts.past,
    )  # fmt: skip
    asked, as_it_is = foresee(facts, question(what_if_limit=limit)), foresee(facts, question())
    assert asked.expectations == foresee(changed, question()).expectations
    for pool, now in zip(asked.pools, as_it_is.pools, strict=True):
        assert pool.state.pool.concurrency_limit == limit
        assert pool.longest_wait_as_it_is == now.longest_wait == now.longest_wait_as_it_is
        assert pool.sizing == now.sizing


@given(facts_to_come())
def test_a_plan_counts_each_pools_runs_and_changes_nothing(facts: UpcomingFacts) -> None:
    preview = foresee(facts, question())
    plan = decide_preview(preview)
    assert plan.actions == ()
    assert [each.target.name for each in plan.verdicts] == [each.pool.name for each in facts.pools]
    for verdict, pool in zip(plan.verdicts, preview.pools, strict=True):
        assert verdict.target.kind is Kind.POOL
        assert verdict.numbers == {each: pool.count(each) for each in Standing}
        assert sum(map(int, verdict.reason.split()[::2]) if pool.expectations else [0]) == len(pool.expectations)


def test_a_plan_says_in_words_what_is_to_be_expected() -> None:
    there = state(of={"concurrency_limit": 1})
    made = (of("etl", "a", 10), of("etl", "b", 10), of("etl", "c", 10), of("etl", "d", -9))
    plan = decide_preview(foresee(upcoming_facts(there, state("ml"), made=made), question()))
    assert [each.reason for each in plan.verdicts] == ["1 will-start, 2 will-wait, 1 late", "nothing is due"]


@given(facts_to_come(), st.integers(1, 24))
def test_no_slot_is_in_use_while_it_is_called_quiet_and_long_quiet_times_are_told(
    facts: UpcomingFacts, hours: int
) -> None:
    preview = foresee(facts, question(hours=hours))
    listed_until = min([coming(hours=hours), *(each.dates[-1] for each in facts.schedules if each.beyond)])
    found = preview.quiet(preview.pools)
    assert [end - begin for begin, end in found] == sorted((end - begin for begin, end in found), reverse=True)
    for begin, end in found:
        assert NOW <= begin < end <= listed_until
        assert end - begin >= MAINTENANCE
    quiet_minutes = 0
    for minute in range(hours * 60):
        # In the middle of a minute: all that is due is due at full minutes, and what holds a slot now may not take one.
        at = coming(minutes=minute, seconds=30)
        is_told = any(begin <= at < end for begin, end in found)
        quiet_minutes = quiet_minutes + 1 if not in_use(preview, at) and at < listed_until else 0
        assert not is_told or quiet_minutes
        assert is_told or quiet_minutes <= MAINTENANCE / MINUTE


@given(facts_to_come())
def test_the_least_busy_time_is_a_whole_stretch_in_which_the_fewest_slots_are_wanted(facts: UpcomingFacts) -> None:
    preview = foresee(facts, question(hours=12))
    listed_until = min([coming(hours=12), *(each.dates[-1] for each in facts.schedules if each.beyond)])
    # Slots are taken and given back at full minutes, but for what holds one now.
    most = {
        (begin, end): max(in_use(preview, begin + number * MINUTE) for number in range((end - begin) // MINUTE))
        for begin, end in pairwise(preview.stretches)
        if end <= listed_until
    }
    found = preview.least_busy(preview.pools)
    if found is None:
        assert not most
    else:
        begin, end, slots = found
        assert most[begin, end] == slots == min(most.values())


@given(facts_to_come())
def test_slots_are_wanted_by_whoever_holds_them_and_by_whatever_is_due(facts: UpcomingFacts) -> None:
    preview = foresee(facts, question(hours=12))
    wanted = [preview.slots_wanted(pool) for pool in preview.pools]
    for number, (begin, end) in enumerate(pairwise(preview.stretches)):
        for pool, slots in zip(preview.pools, wanted, strict=True):
            alone = Preview(facts, preview.question, (pool,), (), 0)
            assert slots[number] == max(
                in_use(alone, begin + minute * MINUTE) for minute in range((end - begin) // MINUTE)
            )


def test_runs_after_as_many_as_are_listed_are_counted() -> None:
    # Without a pool, which is judged fastest.
    nowhere = deployment(pool=None)
    dates = schedule(*(coming(seconds=each) for each in range(RUNS_LISTED + 3)))
    preview = foresee(upcoming_facts(state(), deployments=[nowhere], schedules=(dates,)), question(hours=48))
    assert (len(preview.expectations), preview.unlisted) == (RUNS_LISTED, 3)


def test_nothing_is_told_about_the_time_after_the_last_run_that_is_listed() -> None:
    made = (of("etl", "a", 120), of("ml", "b", 240))
    listed = foresee(upcoming_facts(state(), state("ml"), made=made), question())
    cut = replace(listed, unlisted=1)
    etl, ml = cut.pools
    assert listed.quiet([listed.pools[0]])[0] == (coming(minutes=121), coming(hours=24))
    assert cut.quiet([etl]) == ((NOW, coming(hours=2)), (coming(minutes=121), coming(hours=4)))
    assert cut.quiet([ml]) == ((NOW, coming(hours=4)),)
    assert replace(cut, pools=()).quiet([]) == ()
    assert replace(cut, pools=()).least_busy([]) is None


@pytest.mark.parametrize("limit", [0, 1, None])
def test_a_pool_with_nothing_due_has_nothing_to_tell(limit: int | None) -> None:
    (pool,) = foresee(upcoming_facts(state(of={"concurrency_limit": limit})), question()).pools
    assert (pool.expectations, pool.spans, pool.sizing) == ((), (), None)
    assert pool.longest_wait == pool.longest_wait_as_it_is == timedelta(0)


def test_what_never_starts_is_no_wait() -> None:
    paused = state(of={"is_paused": True})
    (pool,) = foresee(upcoming_facts(paused, made=(upcoming(due_at=ago(days=9)),)), question()).pools
    assert pool.longest_wait == timedelta(0)


def test_lengths_are_told_of_all_deployments_with_runs_to_come_that_have_a_past() -> None:
    made = (upcoming("x", deployment_id="a"), upcoming("y", deployment_id="b"))
    past = {"a": (MINUTE, 3 * MINUTE), "b": (), "idle": (MINUTE,)}
    preview = foresee(upcoming_facts(state(), made=made, past=past), question())
    assert preview.lengths == {"a": 2 * MINUTE}

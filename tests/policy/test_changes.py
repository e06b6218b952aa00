from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.changes import Change, changes_since, next_record, record_of
from flows.policy.facts import TemplateFacts
from flows.policy.fleet import FleetRecord, PoolState
from tests.builders import NOW, ago, facts, record, state, worker
from tests.strategies import kept_fleets

patterns = st.sampled_from(["*", "a*", "b*", "?", "[ab]*", "*-*"])


def kept(*states: PoolState) -> FleetRecord:
    return record(*(record_of(each, NOW) for each in states))


def changes(before: PoolState, after: PoolState) -> tuple[Change, ...] | None:
    return changes_since(facts(after, record=kept(before)))


@given(kept_fleets(), patterns)
def test_nothing_is_said_without_an_earlier_record(states: list[PoolState], pattern: str) -> None:
    assert changes_since(facts(*states, pools=(pattern,))) is None


@given(kept_fleets(), patterns)
def test_where_nothing_changed_there_are_no_changes(states: list[PoolState], pattern: str) -> None:
    assert changes_since(facts(*states, pools=(pattern,), record=kept(*states))) == ()


@given(kept_fleets(), kept_fleets(), patterns)
def test_keeping_the_record_twice_is_keeping_it_once(
    before: list[PoolState], after: list[PoolState], pattern: str
) -> None:
    observed = facts(*after, pools=(pattern,), record=kept(*before))
    once = next_record(observed)
    again = replace(observed, record=record(*once, kept_at=NOW))
    assert next_record(again) == once
    assert {change.what for change in changes_since(again) or ()} <= {"deleted"}


@given(kept_fleets(), patterns)
def test_a_pool_that_was_created_since_is_created(states: list[PoolState], pattern: str) -> None:
    new = [replace(each, pool=replace(each.pool, created_at=ago(minutes=1))) for each in states]
    observed = facts(*new, pools=(pattern,), record=kept())
    assert changes_since(observed) == tuple(Change(name, "created") for name in observed.selection.names)


@pytest.mark.parametrize("created_at", [ago(days=1), ago(hours=2), None])
def test_a_pool_that_is_only_seen_for_the_first_time_is_not(created_at: Any) -> None:
    assert changes_since(facts(state(of={"created_at": created_at}), record=kept(state("other")), also=["other"])) == ()


@given(kept_fleets(), st.data())
def test_a_deleted_pool_is_reported_exactly_where_the_selection_covers_it(
    states: list[PoolState], data: st.DataObject
) -> None:
    left = [each for each in states if data.draw(st.booleans())]
    observed = facts(*left, pools=(data.draw(patterns),), exclude=("?b*",), record=kept(*states))
    there = {each.pool.name for each in left}
    gone = sorted(each.pool.name for each in states if each.pool.name not in there)
    reported = [change.pool for change in changes_since(observed) or () if change.what == "deleted"]
    assert reported == [name for name in gone if observed.selection.covers(name)]


def test_a_deleted_pool_is_not_reported_where_another_pool_was_asked_for_by_its_name() -> None:
    for name in ("etl", "a*"):
        observed = facts(state(name), pools=(name,), record=kept(state(name), state("ab")))
        assert changes_since(observed) == ()


@given(kept_fleets(), patterns, st.data())
def test_what_was_deleted_is_reported_in_the_end_whatever_was_asked_for_between(
    states: list[PoolState], pattern: str, data: st.DataObject
) -> None:
    left = [each for each in states if data.draw(st.booleans())]
    between = facts(*left, pools=(pattern,), record=kept(*states))
    afterwards = facts(*left, record=record(*next_record(between)))
    reported = {c.pool for one in (between, afterwards) for c in changes_since(one) or () if c.what == "deleted"}
    assert reported == {each.pool.name for each in states} - {each.pool.name for each in left}


@given(kept_fleets(), kept_fleets(), patterns)
def test_pools_outside_the_selection_keep_their_record(
    before: list[PoolState], after: list[PoolState], pattern: str
) -> None:
    observed = facts(*after, pools=(pattern,), record=kept(*before))
    outside = {name: each for name, each in kept(*before).pools.items() if not observed.selection.covers(name)}
    written = {each.pool: each for each in next_record(observed)}
    assert {name: written.get(name) for name in outside} == outside


@given(kept_fleets(), kept_fleets(), patterns)
def test_selected_pools_are_kept_as_they_are_now(before: list[PoolState], after: list[PoolState], pattern: str) -> None:
    observed = facts(*after, pools=(pattern,), record=kept(*before))
    written = {each.pool: each for each in next_record(observed)}
    for each in observed.fleet.pools:
        assert written[each.pool.name] == record_of(each, NOW)
    assert list(written) == sorted(written)


def test_a_pool_that_went_while_it_was_read_is_reported_by_the_next_inventory() -> None:
    observed = facts(pools=("*",), also=["etl"], record=kept(state()))
    assert changes_since(observed) == ()
    later = facts(pools=("*",), record=record(*next_record(observed)))
    assert changes_since(later) == (Change("etl", "deleted"),)


def test_each_change_is_said_in_words() -> None:
    assert changes(state(), state(of={"is_paused": True})) == (Change("etl", "paused"),)
    assert changes(state(of={"is_paused": True}), state()) == (Change("etl", "resumed"),)
    limited = state(of={"concurrency_limit": 3})
    unlimited = state(of={"concurrency_limit": None})
    assert changes(unlimited, limited) == (Change("etl", "concurrency limit", "none", "3"),)
    assert changes(limited, unlimited) == (Change("etl", "concurrency limit", "3", "none"),)
    assert changes(state(), state(workers=())) == (Change("etl", "workers online", "1", "0"),)
    template = TemplateFacts(digest="1" * 64)
    expected = Change("etl", "base job template", "0" * 12, "1" * 12)
    assert changes(state(), state(of={"template": template})) == (expected,)


def test_a_limit_of_zero_is_not_the_same_as_no_limit() -> None:
    before, after = state(of={"concurrency_limit": None}), state(of={"concurrency_limit": 0})
    assert changes(before, after) == (Change("etl", "concurrency limit", "none", "0"),)


def test_a_pool_that_was_deleted_and_created_again_is_another_pool() -> None:
    again = state(of={"id": "another", "is_paused": True, "created_at": ago(minutes=1)})
    assert changes(state(), again) == (Change("etl", "deleted and created again"),)


def test_only_workers_that_are_online_are_counted() -> None:
    silent = (worker("a"), worker("b", last_heartbeat_at=ago(hours=1)), worker("c", last_heartbeat_at=None))
    assert record_of(state(workers=silent), NOW).workers_online == 1


@given(kept_fleets(), kept_fleets())
def test_changes_come_by_the_name_of_the_pool(before: list[PoolState], after: list[PoolState]) -> None:
    pools = [change.pool for change in changes_since(facts(*after, record=kept(*before))) or ()]
    assert pools == sorted(pools)


def test_a_pool_that_was_created_while_the_last_inventory_was_read_is_created() -> None:
    new = state("etl", of={"created_at": ago(hours=1, minutes=2)})
    assert changes_since(facts(new, record=kept())) == (Change("etl", "created"),)

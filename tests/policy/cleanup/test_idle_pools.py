from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flows.policy.cleanup.idle_pools import (
    OPENING,
    Mark,
    SeenPool,
    decide_idle_pools,
    in_use,
    read_mark,
    with_mark,
    without_mark,
)
from flows.policy.cleanup.kinds import RULE, Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.lease import read_note, with_note, without_note
from flows.policy.plan import Kind, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from tests.builders import NOW, ago, coming, pool
from tests.strategies import pool_types, texts

OWN = "management"
SECOND = timedelta(seconds=1)
MOMENT = timedelta(microseconds=1)
# As pool-auto-pause writes it.
LEASE_WORDS = "Paused 2026-03-29 11:00:00 UTC until 2026-03-29 13:00:00 UTC: 8 of 10 runs failed. Former limit: 10."


def scope(now: datetime = NOW, **retention: Any) -> Scope:
    selection = select_pools(["*"], [], [OWN])
    return Scope(selection, (), Retention(**retention), Protection(pools=frozenset({OWN})), now)


def idle(name: str = "etl", description: str | None = None, **changed: Any) -> SeenPool:
    """A pool that was made a year ago and that nothing uses; `changed` is what uses it."""
    return replace(SeenPool(pool(name, created_at=ago(days=365), description=description)), **changed)


def marked(description: str | None = None, at: datetime = NOW, **retention: Any) -> str:
    return with_mark(description, scope(at, **retention))


def decided(seen: SeenPool, within: Scope | None = None) -> Verdict:
    (verdict,) = decide_idle_pools([seen], within or scope()).verdicts
    return verdict


def acted(seen: SeenPool, within: Scope | None = None) -> Verb:
    """What is done, also where the pool is only counted."""
    return next((each.verb for each in decide_idle_pools([seen], within or scope()).verdicts), Verb.LEAVE)


USES: list[dict[str, Any]] = [
    {"deployments": 1},
    {"unfinished": 2},
    {"recent": 3},
    {"worker_seen_at": ago(days=30)},
    {"worker_seen_at": coming(seconds=5)},
    {"pool": pool(created_at=ago(days=30))},
    {"pool": pool(created_at=None)},
]

descriptions = st.none() | texts | st.sampled_from(["", "\n\n", "\n\nx", "[x]", OPENING, "x] [y", marked("old")])
moments = st.integers(0, 24 * 400).map(lambda hours: NOW - timedelta(hours=hours))
pools = st.builds(
    lambda seen, description, type_, paused: replace(
        seen, pool=replace(seen.pool, description=description, type=type_, is_paused=paused)
    ),
    st.builds(
        SeenPool,
        pool=st.builds(
            lambda name, made: pool(name, created_at=made),
            st.sampled_from(["etl", "gpu", OWN]),
            st.none() | moments,
        ),
        deployments=st.sampled_from([0, 0, 0, 1]),
        unfinished=st.sampled_from([0, 0, 0, 1]),
        recent=st.sampled_from([0, 0, 0, 1]),
        worker_seen_at=st.none() | moments,
    ),
    descriptions | st.builds(marked, descriptions, moments),
    pool_types,
    st.booleans(),
)
days = st.integers(1, 60)


def test_a_pool_that_nothing_uses_is_marked_first_and_the_report_names_the_end() -> None:
    verdict = decided(idle("a | b"))
    assert verdict.verb is Verb.CHANGE
    assert verdict.reason == "nothing has used it for 30 d; marked, deleted after 2026-04-05 12:00:00 UTC"
    assert (verdict.target.kind, verdict.target.name, verdict.target.id) == (Kind.POOL, "a | b", "id-a | b")
    assert verdict.numbers[RULE] == "idle-pools"


def test_the_mark_reads_as_a_person_needs_it_and_is_in_front_of_the_owners_words() -> None:
    assert marked("Owned by Ann.") == (
        "[Poolkeeper: idle, marked 2026-03-29 12:00:00 UTC. Deleted after 2026-04-05 12:00:00 UTC unless it is used.]"
        "\n\nOwned by Ann."
    )


@pytest.mark.parametrize("use", USES)
def test_a_pool_in_use_is_counted_and_bears_no_mark(use: dict[str, Any]) -> None:
    found = decide_idle_pools([idle(**use)], scope())
    assert (found.verdicts, found.left) == ((), {"in use": 1})


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("at", [ago(hours=1), ago(days=300)])
def test_a_marked_pool_that_is_used_loses_its_mark_also_when_its_time_is_over(
    use: dict[str, Any], at: datetime
) -> None:
    seen = idle(**use)
    seen = replace(seen, pool=replace(seen.pool, description=marked("mine", at)))
    verdict = decided(seen)
    assert verdict.verb is Verb.CHANGE
    assert verdict.reason.startswith("no longer idle: ")
    assert verdict.reason.endswith("; its mark is taken away")


def test_a_pool_is_deleted_only_once_the_time_that_its_mark_names_is_over() -> None:
    seen = idle(description=marked("mine"))
    until = NOW + timedelta(days=7)
    assert decided(seen, scope(until)).verb is Verb.LEAVE
    assert decided(seen, scope(until)).reason == (
        "idle, marked 2026-03-29 12:00:00 UTC; deleted after 2026-04-05 12:00:00 UTC unless it is used"
    )
    gone = decided(seen, scope(until + MOMENT))
    assert (gone.verb, gone.reason) == (Verb.DELETE, "idle since it was marked 2026-03-29 12:00:00 UTC")


@pytest.mark.parametrize(("then", "now"), [(7, 30), (30, 7), (30, 30)])
def test_of_two_times_of_grace_the_longer_counts(then: int, now: int) -> None:
    seen = idle(description=marked(grace_days=then))
    end = NOW + timedelta(days=30)
    assert decided(seen, scope(end, grace_days=now)).verb is Verb.LEAVE
    assert decided(seen, scope(end + SECOND, grace_days=now)).verb is Verb.DELETE


def test_a_pool_whose_mark_a_person_removed_is_marked_anew_with_a_new_time_of_grace() -> None:
    later = NOW + timedelta(days=100)
    verdict = decided(idle(description=without_mark(marked("mine"))), scope(later))
    assert verdict.verb is Verb.CHANGE
    assert read_mark(marked("mine", later)) == Mark(later, later + timedelta(days=7))


@pytest.mark.parametrize(
    "edited",
    [
        "[Poolkeeper: idle, marked yesterday. Deleted after 2026-04-05 12:00:00 UTC unless it is used.]",
        "[Poolkeeper: idle, marked 2026-13-29 12:00:00 UTC. Deleted after 2026-04-05 12:00:00 UTC unless it is used.]",
        "[Poolkeeper: idle, marked 2026-03-29 12:00:00 UTC. Never deleted.]",
        "[Poolkeeper: idle",
        marked("mine", ago(days=300)).replace("]", " - no, keep it]", 1),
    ],
)
@pytest.mark.parametrize("use", [{}, {"deployments": 1}])
def test_a_mark_that_cannot_be_read_is_reported_and_left(edited: str, use: dict[str, Any]) -> None:
    verdict = decided(idle(description=edited, **use))
    assert verdict.verb is Verb.LEAVE
    assert "was changed and cannot be read" in verdict.reason


@pytest.mark.parametrize("before", ["Ask Ann first.\n\n", " ", "\n"])
def test_a_pool_is_not_marked_twice_where_a_person_wrote_something_in_front_of_its_mark(before: str) -> None:
    seen = idle(description=before + marked("mine", ago(days=1)))
    assert decided(seen).verb is Verb.LEAVE


def test_a_pool_in_use_whose_mark_has_something_in_front_of_it_is_at_least_reported() -> None:
    found = decide_idle_pools([idle(description="Ask Ann.\n\n" + marked("mine"), deployments=1)], scope())
    assert [verdict.target.name for verdict in found.verdicts] == ["etl"]


def test_a_mark_whose_end_a_person_moved_further_away_is_kept_to() -> None:
    description = marked("mine").replace("after 2026-04-05", "after 2027-04-05")
    assert decided(idle(description=description), scope(NOW + timedelta(days=300))).verb is Verb.LEAVE


def test_a_mark_whose_end_a_person_moved_nearer_does_not_shorten_the_time_of_grace() -> None:
    description = marked("mine").replace("after 2026-04-05", "after 2026-03-30")
    assert decided(idle(description=description), scope(NOW + timedelta(days=6))).verb is Verb.LEAVE


@pytest.mark.parametrize("own", [None, "mine", marked("mine", ago(days=300))])
def test_a_pool_that_auto_pause_holds_is_left_whether_it_is_marked_or_not(own: str | None) -> None:
    leased = with_note(own, LEASE_WORDS, "0abc12.2")
    verdict = decided(idle(description=leased))
    assert (verdict.verb, verdict.reason) == (
        Verb.LEAVE,
        "idle, but pool-auto-pause has paused it and will bring it back",
    )


def test_a_lease_that_stands_behind_the_mark_is_seen_too() -> None:
    description = marked(with_note("mine", LEASE_WORDS, "0abc12.2"), ago(days=300))
    assert decided(idle(description=description)).verb is Verb.LEAVE
    assert decided(idle(description=description, deployments=1)).verb is Verb.LEAVE


@given(descriptions, moments)
def test_the_mark_is_no_lease_and_a_lease_is_no_mark(own: str | None, at: datetime) -> None:
    assume(read_note(own) is None)
    assume(read_mark(own) is None)
    assert read_note(marked(own, at)) is None
    assert read_mark(with_note(own, LEASE_WORDS, "0abc12.2")) is None


@given(descriptions, moments)
def test_mark_and_lease_come_and_go_in_any_order_and_leave_the_owners_words_as_they_were(
    own: str | None, at: datetime
) -> None:
    assume(read_note(own) is None)
    both = with_note(marked(own, at), LEASE_WORDS, "0abc12.2")
    assert without_mark(without_note(both)) == own
    assert without_note(without_mark(marked(with_note(own, LEASE_WORDS, "0abc12.2"), at))) == own


@given(descriptions, moments, days)
def test_the_owners_description_comes_back_as_it_was_and_the_mark_reads_as_it_was_written(
    own: str | None, at: datetime, grace: int
) -> None:
    description = marked(own, at, grace_days=grace)
    assert without_mark(description) == own
    assert read_mark(description) == Mark(at, at + timedelta(days=grace))
    assert description.startswith(OPENING)


@given(texts)
def test_what_is_no_mark_is_left_as_it_is(own: str) -> None:
    assert read_mark(own) is None
    assert without_mark(own) == own


@pytest.mark.parametrize("type_", ["process", "ecs:push", "prefect:managed", "prefect-agent"])
@pytest.mark.parametrize("is_paused", [True, False])
def test_a_paused_pool_and_one_without_workers_of_its_own_is_idle_like_any_other(type_: str, is_paused: bool) -> None:
    seen = idle()
    assert acted(replace(seen, pool=replace(seen.pool, type=type_, is_paused=is_paused))) is Verb.CHANGE


def test_the_keepers_own_pool_is_left_whatever_its_description_says() -> None:
    for description in (None, "mine", marked("mine", ago(days=300))):
        verdict = decided(idle(OWN, description))
        assert (verdict.verb, verdict.reason) == (Verb.LEAVE, "work pool 'management' runs Poolkeeper itself")


@pytest.mark.parametrize(
    "use",
    [
        {"worker_seen_at": ago(days=30) - MOMENT},
        {"pool": pool(created_at=ago(days=30) - MOMENT)},
    ],
)
def test_what_was_before_the_idle_time_is_no_use(use: dict[str, Any]) -> None:
    assert acted(idle(**use)) is Verb.CHANGE


def test_a_longer_idle_time_than_when_it_was_marked_may_take_the_mark_away() -> None:
    seen = idle(description=marked("mine", ago(days=20)), worker_seen_at=ago(days=40))
    assert decided(seen, scope(idle_days=30)).verb is Verb.DELETE
    assert decided(seen, scope(idle_days=90)).reason.startswith("no longer idle: a worker was seen 40 d ago")


@given(st.lists(pools, max_size=5))
def test_every_pool_has_a_verdict_or_is_counted(there: Sequence[SeenPool]) -> None:
    found = decide_idle_pools(there, scope())
    assert len(found.verdicts) + sum(found.left.values()) == len(there)
    assert all(verdict.reason for verdict in found.verdicts)


@given(pools)
def test_only_a_pool_that_is_marked_and_unused_and_free_is_ever_deleted(seen: SeenPool) -> None:
    if acted(seen) is Verb.DELETE:
        mark = read_mark(seen.pool.description)
        assert mark is not None
        assert mark.until < NOW
        assert in_use(seen, scope()) == ""
        assert seen.pool.name != OWN
        assert read_note(seen.pool.description) is None


@given(pools, days, days, days, days)
def test_longer_retention_never_deletes_more_pools(
    seen: SeenPool, idle_a: int, idle_b: int, grace_a: int, grace_b: int
) -> None:
    short = scope(idle_days=min(idle_a, idle_b), grace_days=min(grace_a, grace_b))
    long = scope(idle_days=max(idle_a, idle_b), grace_days=max(grace_a, grace_b))
    assert acted(seen, long) is not Verb.DELETE or acted(seen, short) is Verb.DELETE


@given(pools)
def test_marking_or_unmarking_twice_in_a_row_changes_nothing_the_second_time(seen: SeenPool) -> None:
    """What was marked waits for its time; what lost its mark is either counted or marked anew."""
    assume(acted(seen) is Verb.CHANGE)
    is_marked = read_mark(seen.pool.description) is not None
    description = without_mark(seen.pool.description) if is_marked else with_mark(seen.pool.description, scope())
    after = replace(seen, pool=replace(seen.pool, description=description))
    assume(not (description or "").startswith(OPENING) or not is_marked)
    assert acted(after) is Verb.LEAVE


@given(st.lists(pools, max_size=4, unique_by=lambda seen: seen.pool.name), st.randoms(use_true_random=False))
def test_the_order_in_which_pools_are_read_does_not_matter(there: list[SeenPool], random: Any) -> None:
    within = scope()
    decided_first = decide_idle_pools(there, within)
    random.shuffle(there)
    assert decide_idle_pools(there, within) == decided_first

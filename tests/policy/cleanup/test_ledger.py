import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.policy.cleanup.ledger import BEGUN, DIED, Entry, Range, completed, entries, ranges, settled
from flows.policy.plan import Outcome, Result
from tests.cleanup import of_rule
from tests.strategies import texts

WHAT = of_rule("finished-runs")
LEFT = Entry(Result.SKIPPED.value, DIED)
ENDS = {Result.DONE.value, Result.SKIPPED.value, Result.FAILED.value}

results = st.sampled_from([Result.DONE, Result.DONE, Result.SKIPPED, Result.FAILED])
details = st.sampled_from(["", "", "already gone", "it changed meanwhile, now Running"]) | texts
outcomes = st.lists(st.builds(Outcome, st.just(WHAT), results, details), max_size=20)
more = st.integers(0, 10)


def became(result: Result, detail: str = "") -> Outcome:
    return Outcome(WHAT, result, detail)


def said(of: Sequence[Outcome]) -> list[Entry]:
    return [Entry(each.result.value, each.detail) for each in of]


@given(outcomes, more, more)
def test_a_ledger_tells_of_every_action_what_became_of_it(done: list[Outcome], begun: int, not_begun: int) -> None:
    told = list(entries(ranges(done, begun), len(done) + begun + not_begun))
    assert told[: len(done)] == said(done)
    assert told[len(done) : len(done) + begun] == [Entry(BEGUN, "", is_begun=True)] * begun
    assert told[len(done) + begun :] == [LEFT] * not_begun
    assert not any(each.is_begun for each in told[: len(done)])


@given(outcomes, more, more)
def test_a_ledger_is_the_same_after_it_was_kept_as_text(done: list[Outcome], begun: int, not_begun: int) -> None:
    kept = ranges(done, begun)
    text = json.dumps([each.model_dump() for each in kept])
    read = [Range.model_validate(each) for each in json.loads(text)]
    number = len(done) + begun + not_begun
    assert read == kept
    assert list(entries(read, number)) == list(entries(kept, number))


@given(outcomes, more)
def test_the_ranges_follow_each_other_and_no_two_neighbours_are_alike(done: list[Outcome], begun: int) -> None:
    kept = ranges(done, begun)
    numbers = [number for each in kept for number in range(each.first, each.last + 1)]
    assert numbers == list(range(1, len(done) + begun + 1))
    assert all((one.outcome, one.detail) != (two.outcome, two.detail) for one, two in pairwise(kept))


@given(outcomes, more, more, st.integers(0, 2**40))
def test_once_settled_every_action_was_done_skipped_or_failed(
    done: list[Outcome], begun: int, not_begun: int, seed: int
) -> None:
    number = len(done) + begun + not_begun
    there = [bool(seed >> position & 1) for position in range(number)]
    told = [
        settled(entry, is_there=is_there)
        for entry, is_there in zip(entries(ranges(done, begun), number), there, strict=True)
    ]
    counts = {end: sum(entry.outcome == end for entry in told) for end in ENDS}
    assert sum(counts.values()) == number
    assert not any(entry.is_begun for entry in told)
    assert told[: len(done)] == said(done)
    assert told[len(done) + begun :] == [LEFT] * not_begun


def test_what_was_begun_is_done_where_its_target_is_gone_and_left_where_it_is_there() -> None:
    begun = Entry(BEGUN, "", is_begun=True)
    assert settled(begun, is_there=False) == Entry("done", "done by a run that died")
    assert settled(begun, is_there=True) == Entry("skipped", "left: the run that was to do it died")


@pytest.mark.parametrize("is_there", [True, False])
def test_what_was_not_just_being_done_is_settled_already(is_there: bool) -> None:
    for entry in (Entry("done", ""), Entry("failed", "503"), LEFT):
        assert settled(entry, is_there=is_there) is entry


def test_ten_thousand_alike_outcomes_are_one_range() -> None:
    kept = ranges([became(Result.DONE)] * 10_000, begun=50)
    assert kept == [Range(first=1, last=10_000, outcome="done"), Range(first=10_001, last=10_050, outcome=BEGUN)]


def test_outcomes_that_differ_in_their_words_alone_are_kept_apart() -> None:
    kept = ranges([became(Result.DONE), became(Result.DONE, "already gone"), became(Result.DONE)])
    assert [(each.first, each.last, each.detail) for each in kept] == [(1, 1, ""), (2, 2, "already gone"), (3, 3, "")]


def test_a_ledger_of_nothing_says_that_nothing_was_begun() -> None:
    assert ranges([]) == []
    assert list(entries([], 2)) == [LEFT, LEFT]
    assert list(entries([], 0)) == []


def test_a_ledger_that_knows_of_more_than_the_table_holds_tells_of_what_the_table_holds() -> None:
    kept = ranges([became(Result.DONE)] * 3, begun=5)
    assert list(entries(kept, 2)) == [Entry("done", "")] * 2
    assert [each.outcome for each in entries(kept, 5)] == ["done"] * 3 + [BEGUN] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0, "last": 1, "outcome": "done"},
        {"first": 1, "last": 0, "outcome": "done"},
        {"first": 1, "outcome": "done"},
        {"first": 1, "last": 1, "outcome": "done", "by": "me"},
        {"first": 1, "last": 1},
        ["done"],
    ],
)
def test_what_is_no_range_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Range.model_validate(wrong)


rows = st.lists(
    st.fixed_dictionaries(
        {"target": st.sampled_from(["owl", "fox"]), "reason": texts, "outcome": st.sampled_from(["", "planned"])}
    ),
    max_size=12,
)


@given(rows, st.lists(st.builds(Entry, st.sampled_from(sorted(ENDS)), details), min_size=12, max_size=12))
def test_outcomes_go_into_the_rows_that_had_one_and_into_no_other(
    table: list[dict[str, object]], told: list[Entry]
) -> None:
    number = sum(bool(row["outcome"]) for row in table)
    whole = completed(table, told[:number])
    assert len(whole) == len(table)
    left = iter(told)
    for before, after in zip(table, whole, strict=True):
        assert list(after) == list(before)
        if not before["outcome"]:
            assert after == before
            continue
        entry = next(left)
        assert after["outcome"] == entry.outcome
        assert after["target"] == before["target"]
        assert str(after["reason"]).startswith(str(before["reason"]))
        assert entry.detail in str(after["reason"])


def test_a_completed_table_says_why_in_the_reason_and_leaves_the_plans_rows_as_they_were() -> None:
    plan: list[dict[str, object]] = [
        {"reason": "late by 2 d", "outcome": "planned"},
        {"reason": "made by hand", "outcome": ""},
        {"reason": "late by 3 d", "outcome": "planned"},
    ]
    assert completed(plan, [Entry("done", ""), LEFT]) == [
        {"reason": "late by 2 d", "outcome": "done"},
        {"reason": "made by hand", "outcome": ""},
        {"reason": f"late by 3 d ({DIED})", "outcome": "skipped"},
    ]
    assert [row["outcome"] for row in plan] == ["planned", "", "planned"]

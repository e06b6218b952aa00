from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.policy.cleanup.caps import BEYOND, Caps, CleanupLimit, within
from flows.policy.cleanup.kinds import KINDS, CleanupKind, Found
from flows.policy.plan import ActionLimit, Verb, Verdict
from tests.cleanup import of_rule

DEFAULTS: Mapping[CleanupKind, int] = {
    "finished-runs": 10_000,
    "late-runs": 1_000,
    "stuck-runs": 100,
    "orphaned-runs": 1_000,
    "orphaned-deployments": 50,
    "offline-workers": 500,
    "empty-queues": 50,
    "idle-pools": 10,
}

verbs = st.lists(st.sampled_from([Verb.DELETE, Verb.CANCEL, Verb.CRASH, Verb.LEAVE]), max_size=12)
counts = st.dictionaries(st.sampled_from(["made by hand", BEYOND]), st.integers(1, 5))
found = st.builds(
    lambda verbs, left: Found(tuple(of_rule("late-runs", str(i), verb) for i, verb in enumerate(verbs)), left),
    verbs,
    counts,
)
caps = st.integers(0, 14)


def actions(of: Found) -> list[Verdict]:
    return [verdict for verdict in of.verdicts if verdict.verb is not Verb.LEAVE]


def leaves(of: Found) -> list[Verdict]:
    return [verdict for verdict in of.verdicts if verdict.verb is Verb.LEAVE]


@given(found, caps)
def test_never_more_actions_than_the_cap_and_those_are_the_first(there: Found, most: int) -> None:
    assert actions(within(there, most)) == actions(there)[:most]


@given(found, caps)
def test_what_is_beyond_the_cap_is_counted(there: Found, most: int) -> None:
    beyond = within(there, most).left.get(BEYOND, 0) - there.left.get(BEYOND, 0)
    assert beyond == max(0, len(actions(there)) - most)


@given(found, caps)
def test_nothing_gets_lost(there: Found, most: int) -> None:
    capped = within(there, most)
    looked_at = len(there.verdicts) + sum(there.left.values())
    assert len(capped.verdicts) + sum(capped.left.values()) == looked_at
    assert {reason: count for reason, count in capped.left.items() if reason != BEYOND} == {
        reason: count for reason, count in there.left.items() if reason != BEYOND
    }


@given(found, caps)
def test_every_verdict_that_leaves_something_alone_stays(there: Found, most: int) -> None:
    assert leaves(within(there, most)) == leaves(there)


@given(found, caps, caps)
def test_a_smaller_cap_is_a_part_of_what_a_larger_one_does(there: Found, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert actions(within(within(there, more), less)) == actions(within(there, less))


@given(found)
def test_what_is_within_the_cap_stays_as_it_is(there: Found) -> None:
    assert within(there, len(actions(there))) == there


def test_a_cap_of_zero_leaves_everything_and_says_why() -> None:
    three = Found(tuple(of_rule("late-runs", str(number)) for number in range(3)), {"made by hand": 2})
    assert within(three, 0) == Found((), {"made by hand": 2, "more than may go at once": 3})


def test_every_kind_has_a_cap_of_its_own() -> None:
    assert {kind: Caps().of(kind) for kind in KINDS} == DEFAULTS
    assert get_args(CleanupKind) == KINDS
    numbers = {kind.replace("-", "_"): number for number, kind in enumerate(KINDS)}
    assert [Caps.model_validate(numbers).of(kind) for kind in KINDS] == list(range(len(KINDS)))


@pytest.mark.parametrize("field", Caps.model_fields)
def test_a_cap_is_a_whole_number_from_zero_up(field: str) -> None:
    assert getattr(Caps.model_validate({field: 0}), field) == 0
    assert getattr(Caps.model_validate({field: "7"}), field) == 7
    for wrong in (-1, 0.5, None, "many"):
        with pytest.raises(ValidationError, match=field):
            Caps.model_validate({field: wrong})


@pytest.mark.parametrize("model", [Caps, CleanupLimit])
def test_a_misspelt_field_is_refused(model: type[Caps] | type[CleanupLimit]) -> None:
    with pytest.raises(ValidationError, match="finished_rums"):
        model.model_validate({"finished_rums": 1})


def test_all_caps_together_are_within_the_limit_of_a_run() -> None:
    assert sum(Caps().of(kind) for kind in KINDS) <= CleanupLimit().max_actions == 15_000


def test_a_cleanup_judges_shares_as_every_job_does() -> None:
    assert CleanupLimit().max_share == ActionLimit().max_share
    assert issubclass(CleanupLimit, ActionLimit)
    with pytest.raises(ValidationError):
        CleanupLimit(max_actions=-1)


@pytest.mark.parametrize("field", Caps.model_fields)
def test_the_form_says_what_a_cap_is_and_what_zero_means(field: str) -> None:
    its = Caps.model_fields[field]
    assert its.title
    assert its.description
    assert its.title[1:] in its.description
    assert "0 leaves them all" in its.description

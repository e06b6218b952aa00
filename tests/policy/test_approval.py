from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.approval import SHOWN_DIGITS, check_age, digest
from flows.policy.plan import Kind, Plan, Target, UnsafePlan, Verb, Verdict
from tests.builders import NOW
from tests.strategies import texts

LONGEST = timedelta(hours=24)
MOMENT = timedelta(microseconds=1)

# Short and made of each other, so that two plans often have some of them in common.
ids = st.sampled_from(["1", "2", "12", "21", "122"])
actions = st.builds(
    Verdict,
    st.builds(Target, st.sampled_from(Kind), st.sampled_from(["owl", "fox"]), ids),
    st.sampled_from([verb for verb in Verb if verb is not Verb.LEAVE]),
    texts,
)
lists = st.lists(actions, max_size=3, unique_by=lambda action: action.target.id)


def plan(acting: list[Verdict], *, leaving: int = 0) -> Plan:
    left = [Verdict(Target(Kind.RUN, "left", str(number)), Verb.LEAVE, "") for number in range(leaving)]
    return Plan("pool-cleanup", (*left[::2], *acting, *left[1::2]), {"made by hand": leaving})


def one(kind: Kind = Kind.RUN, its_id: str = "1", verb: Verb = Verb.DELETE, name: str = "owl") -> Verdict:
    return Verdict(Target(kind, name, its_id), verb, "because")


def key(acting: list[Verdict]) -> list[tuple[Kind, str, Verb]]:
    return [(action.target.kind, action.target.id, action.verb) for action in acting]


@given(lists, st.integers(0, 5))
def test_what_is_left_alone_does_not_change_a_plans_digest(acting: list[Verdict], leaving: int) -> None:
    assert digest(plan(acting, leaving=leaving)) == digest(plan(acting))


@given(lists, lists)
def test_two_plans_have_the_same_digest_only_where_their_actions_are_the_same(
    one_list: list[Verdict], other: list[Verdict]
) -> None:
    assert (digest(plan(one_list)) == digest(plan(other))) is (key(one_list) == key(other))


@given(lists)
def test_another_order_is_another_plan(acting: list[Verdict]) -> None:
    turned = acting[::-1]
    assert (digest(plan(turned)) == digest(plan(acting))) is (len(acting) < 2)


@given(lists.filter(bool), st.data())
def test_one_action_less_or_more_is_another_plan(acting: list[Verdict], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(acting) - 1))
    assert digest(plan(acting[:at] + acting[at + 1 :])) != digest(plan(acting))
    assert digest(plan([*acting, acting[at]])) != digest(plan(acting))


@given(lists)
def test_the_words_of_a_reason_do_not_change_which_plan_it_is(acting: list[Verdict]) -> None:
    older = [Verdict(action.target, action.verb, "a day later") for action in acting]
    assert digest(plan(older)) == digest(plan(acting))


@pytest.mark.parametrize(
    "other", [one(Kind.POOL), one(its_id="2"), one(verb=Verb.CANCEL), one(its_id="11"), one(its_id="")]
)
def test_another_kind_id_or_verb_is_another_action(other: Verdict) -> None:
    assert digest(plan([other])) != digest(plan([one()]))


def test_a_thing_that_was_renamed_is_still_the_same() -> None:
    assert digest(plan([one(name="fox")])) == digest(plan([one()]))


@given(lists)
def test_a_digest_is_short_enough_to_be_read_out(acting: list[Verdict]) -> None:
    shown = digest(plan(acting))
    assert len(shown) == SHOWN_DIGITS == 12
    assert set(shown) <= set("0123456789abcdef")


def test_a_digest_stays_the_same_from_one_release_to_the_next() -> None:
    assert digest(plan([])) == "e3b0c44298fc"
    assert digest(plan([one(), one(Kind.WORKER, "2", Verb.CANCEL)])) == "7f8006f726be"


def age(passed: timedelta) -> str:
    try:
        check_age(NOW, NOW + passed, LONGEST, "0123abcd")
    except UnsafePlan as problem:
        return str(problem)
    return ""


def test_a_plan_is_good_up_to_its_last_moment_and_not_a_moment_longer() -> None:
    assert age(timedelta(0)) == age(LONGEST - MOMENT) == age(LONGEST) == ""
    assert age(LONGEST + MOMENT)


def test_a_plan_that_is_too_old_says_which_how_old_how_long_and_what_to_do() -> None:
    assert age(timedelta(hours=26, minutes=5)) == (
        "The plan 0123abcd was made 1 d 2 h ago; a plan may be applied for 1 d (pace.plan_hours). Nothing was done. "
        "Run again: the new plan shows what has changed since."
    )


def test_a_clock_that_went_back_makes_no_plan_too_old() -> None:
    assert age(timedelta(minutes=-5)) == ""

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.outage import find_outage
from flows.policy.plan import ActionLimit, Kind

POOL, DEPLOYMENT = Kind.POOL, Kind.DEPLOYMENT


def is_outage(openings: int, failing: int, there: int, *, share: float = 0.3, most: int = 1000) -> bool:
    limit = ActionLimit(max_actions=most, max_share=share)
    return bool(find_outage({POOL: openings}, {POOL: failing}, {POOL: there}, limit))


def test_a_share_is_judged_from_five_up() -> None:
    assert not is_outage(4, 4, 4)
    assert is_outage(2, 2, 5)
    assert not is_outage(1, 1, 5)


def test_exactly_the_largest_share_is_no_outage_and_one_more_is() -> None:
    for there in (5, 10, 50, 100):
        for percent in range(100):
            most = there * percent // 100
            assert not is_outage(1, most, there, share=percent / 100), f"{most} of {there} are within {percent} %"
            assert is_outage(1, most + 1, there, share=percent / 100), f"{most + 1} of {there} are over {percent} %"


def test_exactly_the_most_actions_are_no_outage_and_one_more_is() -> None:
    assert not is_outage(3, 3, 4, most=3)
    assert is_outage(4, 4, 4, most=3)


def test_the_most_actions_are_of_all_kinds_together() -> None:
    two = {POOL: 2, DEPLOYMENT: 2}
    assert "would pause 4 things" in find_outage(two, two, {}, ActionLimit(max_actions=3))


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 5), st.integers(0, 100))
def test_where_nothing_is_to_be_paused_there_is_nothing_to_stop(
    failing: int, there: int, most: int, percent: int
) -> None:
    assert not is_outage(0, failing, there, share=percent / 100, most=most)


def test_what_fails_elsewhere_and_what_is_paused_already_counts() -> None:
    assert not is_outage(1, 3, 10)
    assert is_outage(1, 4, 10)


def test_a_kind_of_which_none_is_to_be_paused_stops_no_other() -> None:
    limit = ActionLimit()
    assert not find_outage({POOL: 1}, {POOL: 1, DEPLOYMENT: 10}, {POOL: 10, DEPLOYMENT: 10}, limit)
    words = find_outage({DEPLOYMENT: 1}, {DEPLOYMENT: 10}, {POOL: 10, DEPLOYMENT: 10}, limit)
    assert words.startswith("10 of 10 deployments fail at once, more than a share of 0.3")

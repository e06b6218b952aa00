from fnmatch import fnmatchcase
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.selection import UnknownPool, select_pools
from tests.strategies import short_names

NAMES = ["etl", "etl-nightly", "management", "reports"]

servers = st.lists(short_names, max_size=6, unique=True)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[str], list[str], list[str]]:
    """Entries for `pools` and `exclude` that are no error, and the names on the server."""
    names = draw(servers)
    entries = st.lists(st.sampled_from(["*", "a*", "?", "[ab]*", *names]), max_size=4)
    return draw(entries), draw(entries), names


def test_selects_by_name_and_by_pattern() -> None:
    assert select_pools(["etl*", "reports"], [], NAMES).names == ("etl", "etl-nightly", "reports")


def test_leaves_out_what_is_excluded() -> None:
    assert select_pools(["*"], ["etl*"], NAMES).names == ("management", "reports")


@given(questions())
def test_selects_only_pools_that_exist_in_order_and_each_once(question: tuple[list[str], list[str], list[str]]) -> None:
    pools, exclude, names = question
    selected = select_pools(pools, exclude, names).names
    assert set(selected) <= set(names)
    assert list(selected) == sorted(set(selected))


@given(questions())
def test_exclude_always_wins(question: tuple[list[str], list[str], list[str]]) -> None:
    pools, exclude, names = question
    unwanted = set(select_pools(exclude, [], names).names)
    everything_asked_for = set(select_pools(pools, [], names).names)
    assert set(select_pools(pools, exclude, names).names) == everything_asked_for - unwanted


@given(questions())
def test_an_empty_list_selects_nothing(question: tuple[list[str], list[str], list[str]]) -> None:
    _, exclude, names = question
    selection = select_pools([], exclude, names)
    assert selection.names == ()
    assert "empty list" in selection.emptiness


@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_entries_and_names_does_not_matter(
    question: tuple[list[str], list[str], list[str]], chance: Random
) -> None:
    before = select_pools(*question)
    shuffled = [chance.sample(entries, len(entries)) for entries in question]
    assert select_pools(*shuffled).names == before.names


@given(questions())
def test_says_why_exactly_where_nothing_is_selected(question: tuple[list[str], list[str], list[str]]) -> None:
    selection = select_pools(*question)
    assert bool(selection.emptiness) is not bool(selection.names)
    assert "\n" not in selection.emptiness


@pytest.mark.parametrize(
    ("pools", "exclude", "names", "why"),
    [
        ([], [], NAMES, "empty list"),
        (["*"], [], [], "no work pool on this server"),
        (["x-*"], [], NAMES, "No work pool matches 'x-*'; there are 4 work pools"),
        (["etl*"], ["e*"], NAMES, "Everything that matches 'etl*' is excluded by 'e*'"),
    ],
)
def test_each_way_to_select_nothing_has_its_own_words(
    pools: list[str], exclude: list[str], names: list[str], why: str
) -> None:
    assert why in select_pools(pools, exclude, names).emptiness


@given(st.text("abc-", min_size=1), servers)
def test_a_plain_name_that_nobody_has_is_an_error_that_names_one_that_exists(name: str, names: list[str]) -> None:
    names = [other for other in names if other != name]
    for pools, exclude in (([name], []), (["*"], [name]), (["*", name], [])):
        with pytest.raises(UnknownPool) as error:
            select_pools(pools, exclude, names)
        message = str(error.value)
        assert repr(name) in message
        nearest = [other for other in names if f"The nearest name is {other!r}." in message]
        assert len(nearest) == bool(names)


def test_the_name_named_in_an_error_is_the_nearest() -> None:
    with pytest.raises(UnknownPool, match="nearest name is 'etl-nightly'"):
        select_pools(["etl-nightyl"], [], NAMES)


@pytest.mark.parametrize("parameter", ["pools", "exclude"])
def test_an_error_says_which_parameter_is_wrong(parameter: str) -> None:
    entries = {"pools": ["*"], "exclude": []} | {parameter: ["elt"]}
    with pytest.raises(UnknownPool, match=f"parameter '{parameter}'"):
        select_pools(entries["pools"], entries["exclude"], NAMES)


@pytest.mark.parametrize("name", ["a*", "a?", "[ab]"])
def test_a_pool_that_is_named_like_a_pattern_is_meant_by_its_name(name: str) -> None:
    selection = select_pools([name], [], ["ab", "b", name])
    assert selection.names == (name,)
    assert selection.narrowed_to == name
    assert select_pools(["ab", "b", name], [name], ["ab", "b", name]).names == ("ab", "b")


def test_a_star_means_every_pool_even_where_one_is_called_that() -> None:
    selection = select_pools(["*"], [], ["ab", "*"])
    assert selection.names == ("*", "ab")
    assert selection.narrowed_to is None


def test_one_plain_name_narrows_to_that_pool() -> None:
    assert select_pools(["etl"], ["reports"], NAMES).narrowed_to == "etl"


@pytest.mark.parametrize(
    ("pools", "exclude"), [(["repo*"], []), (["*"], []), (["etl", "reports"], []), (["etl"], ["etl"])]
)
def test_nothing_else_narrows_even_where_one_pool_is_left(pools: list[str], exclude: list[str]) -> None:
    assert select_pools(pools, exclude, NAMES).narrowed_to is None


@given(questions())
def test_of_the_pools_there_are_exactly_the_selected_are_covered(
    question: tuple[list[str], list[str], list[str]],
) -> None:
    selection = select_pools(*question)
    assert {name for name in question[2] if selection.covers(name)} == set(selection.names)


@given(short_names)
def test_a_pool_that_is_gone_is_covered_by_the_patterns_it_fits(name: str) -> None:
    assert select_pools(["*"], [], ["other"]).covers(name)
    assert select_pools(["a*", "other"], [], ["other"]).covers(name) is fnmatchcase(name, "a*")
    assert not select_pools(["*"], ["*"], ["other"]).covers(name)


def test_upper_and_lower_case_are_told_apart() -> None:
    assert select_pools(["E*"], [], ["Etl", "etl"]).names == ("Etl",)

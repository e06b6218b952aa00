from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.drift import differences

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
descriptions = st.dictionaries(st.text(max_size=5), values, max_size=5)


def turned(value: Any) -> Any:
    """The same, with every mapping's keys the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


def enriched(value: Any) -> Any:
    """The same, with something more in every mapping."""
    if isinstance(value, dict):
        return {key: enriched(each) for key, each in value.items()} | {"one that nobody wrote": 1}
    return [enriched(each) for each in value] if isinstance(value, list) else value


@given(descriptions)
def test_nothing_differs_from_itself(description: dict[str, Any]) -> None:
    assert differences(description, description) == ()


@given(descriptions)
def test_the_order_of_keys_does_not_matter(description: dict[str, Any]) -> None:
    assert differences(description, turned(description)) == ()
    assert differences(turned(description), description) == ()


@given(descriptions)
def test_what_is_not_written_is_no_difference(description: dict[str, Any]) -> None:
    assert differences(description, enriched(description)) == ()


@given(descriptions, st.data())
def test_exactly_the_fields_that_were_changed_differ(description: dict[str, Any], data: st.DataObject) -> None:
    changed = data.draw(st.sets(st.sampled_from(sorted(description)))) if description else set()
    there = {name: [value, "changed"] if name in changed else value for name, value in description.items()}
    assert set(differences(description, there)) == changed


@given(descriptions)
def test_a_field_that_is_missing_differs_where_a_value_was_written(description: dict[str, Any]) -> None:
    written = {name for name, value in description.items() if value is not None}
    assert set(differences(description, {})) == written


def test_white_space_around_a_text_is_no_difference() -> None:
    assert differences({"description": "Keeps pools.\n"}, {"description": "Keeps pools."}) == ()
    assert differences({"description": "Keeps  pools."}, {"description": "Keeps pools."}) == ("description",)


def test_a_list_differs_by_its_length_and_by_its_order() -> None:
    assert differences({"tags": ["a", "b"]}, {"tags": ["a"]}) == ("tags",)
    assert differences({"tags": ["a", "b"]}, {"tags": ["b", "a"]}) == ("tags",)
    assert differences({"tags": []}, {"tags": "text"}) == ("tags",)


def test_a_text_is_no_list_of_letters() -> None:
    assert differences({"tags": "ab"}, {"tags": ["a", "b"]}) == ("tags",)
    assert differences({"tags": ["a", "b"]}, {"tags": "ab"}) == ("tags",)


def test_a_difference_deep_inside_is_named_by_its_field() -> None:
    wanted = {"schedules": [{"cron": "0 * * * *", "active": True}], "name": "x"}
    there = {"schedules": [{"cron": "0 * * * *", "active": False, "id": 1}], "name": "x"}
    assert differences(wanted, there) == ("schedules",)

from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.bad_input import BadInput
from flows.policy.time_zone import UnknownTimezone, time_zone
from tests.builders import NOW
from tests.strategies import HOSTILE, texts

KNOWN = available_timezones()

# Whatever somebody may take for a zone: pieces of real names in any order among them.
pieces = st.lists(st.sampled_from(["Europe", "Berlin", "/", "..", ".", "UTC", "tzdata.zi", "__init__.py", " "]))


def test_every_name_of_the_database_is_a_time_zone() -> None:
    assert {"UTC", "Europe/Berlin", "Asia/Kolkata"} < KNOWN
    for name in KNOWN:
        assert time_zone(name).key == name
        assert NOW.astimezone(time_zone(name)) == NOW


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "/",
        "Europe",
        "Europe/",
        "Europe/Berln",
        "Europe//Berlin",
        "Europe/Berlin ",
        "Europe/../UTC",
        "../etc/passwd",
        "/etc/localtime",
        "zone.tab",
        "tzdata.zi",
        "UTC\0",
        "UTC+2",
        "Mars/Olympus",
        "a" * 5000,
        "\ud800",
        *HOSTILE,
    ],
)
def test_any_other_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(UnknownTimezone) as refused:
        time_zone(name)
    words = str(refused.value)
    assert words.startswith(f"No time zone is named {name!r} (parameter 'timezone').")
    assert "Nothing was done." in words
    assert isinstance(refused.value, BadInput)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("Europe/Berln", "Europe/Berlin"), ("Asia/Kolkatta", "Asia/Kolkata"), ("America/New York", "America/New_York")],
)
def test_the_nearest_name_is_offered(name: str, nearest: str) -> None:
    with pytest.raises(UnknownTimezone, match="The nearest name is") as refused:
        time_zone(name)
    assert repr(nearest) in str(refused.value)


@given(texts | pieces.map("".join) | st.sampled_from(sorted(KNOWN)))
def test_a_name_is_a_time_zone_or_is_refused_and_nothing_else_happens(name: str) -> None:
    if name in KNOWN:
        assert time_zone(name).key == name
    else:
        with pytest.raises(UnknownTimezone):
            time_zone(name)

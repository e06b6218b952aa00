import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.words import counted, lasting, some_of

SECONDS_OF = {"s": 1, "min": 60, "h": 3600, "d": 86400}

lengths = st.timedeltas(timedelta(), timedelta(days=400))


def read_back(words: str) -> int:
    """The seconds that words about a length of time stand for."""
    return sum(int(number) * SECONDS_OF[unit] for number, unit in re.findall(r"(\d+) (\w+)", words))


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 late runs"), (1, "1 late run"), (2, "2 late runs"), (1000, "1000 late runs")]
)
def test_only_one_of_a_thing_is_counted_in_the_singular(number: int, words: str) -> None:
    assert counted(number, "late run") == words


@pytest.mark.parametrize(
    ("names", "words"),
    [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("abcdefg", "a, b, c and 4 more")],
)
def test_the_first_few_of_many_are_named_and_the_others_counted(names: str, words: str) -> None:
    assert some_of(list(names)) == words


def test_as_many_are_named_as_are_asked_for() -> None:
    assert some_of(list("abc"), shown=1) == "a and 2 more"
    assert some_of(list("abc"), shown=9) == "a, b, c"


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ({"seconds": 0}, "0 s"),
        ({"seconds": 0.6}, "1 s"),
        ({"seconds": 59.4}, "59 s"),
        ({"seconds": 59.6}, "1 min"),
        ({"seconds": 90}, "1 min 30 s"),
        ({"minutes": 9, "seconds": 59}, "9 min 59 s"),
        ({"minutes": 10, "seconds": 1}, "10 min"),
        ({"minutes": 59, "seconds": 59}, "59 min"),
        ({"hours": 1}, "1 h"),
        ({"hours": 2, "minutes": 5}, "2 h 5 min"),
        ({"hours": 23, "minutes": 59, "seconds": 59}, "23 h 59 min"),
        ({"days": 1}, "1 d"),
        ({"days": 1, "minutes": 59}, "1 d"),
        ({"days": 3, "hours": 4}, "3 d 4 h"),
    ],
)
def test_a_length_of_time_is_as_exact_as_a_person_would_say_it(length: dict[str, float], words: str) -> None:
    assert lasting(timedelta(**length)) == words


@given(lengths)
def test_a_length_of_time_is_never_said_to_be_much_shorter_or_any_longer_than_it_is(length: timedelta) -> None:
    seconds = round(length.total_seconds())
    shown = read_back(lasting(length))
    assert shown <= seconds
    assert seconds - shown < (1 if seconds < 600 else 60 if seconds < 86400 else 3600)


@given(lengths, lengths)
def test_the_longer_of_two_never_reads_as_the_shorter(one: timedelta, other: timedelta) -> None:
    shorter, longer = sorted([one, other])
    assert read_back(lasting(shorter)) <= read_back(lasting(longer))


@given(lengths)
def test_a_length_of_time_has_at_most_two_units(length: timedelta) -> None:
    assert re.fullmatch(r"\d+ s|\d+ min( \d+ s)?|\d+ h( \d+ min)?|\d+ d( \d+ h)?", lasting(length))

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.report.markdown import (
    bar,
    capped,
    deployment_link,
    link,
    moment,
    plain,
    pool_link,
    run_link,
    sections,
    table,
    text,
)
from tests.builders import NOW
from tests.strategies import names, texts

UNESCAPED_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")
# Every character that Unicode calls Bidi_Control.
TURNS_DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

anything = names | texts


def pipes(line: str) -> int:
    return len(UNESCAPED_PIPE.findall(line))


@given(anything)
def test_every_punctuation_mark_is_escaped(value: str) -> None:
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", text(value))
    assert not set(unescaped) & set(string.punctuation)


@given(anything)
def test_a_text_without_its_escapes_is_what_it_was(value: str) -> None:
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text(value)) == plain(value)


@given(anything)
def test_a_text_is_one_line_that_can_be_seen(value: str) -> None:
    flat = plain(value)
    assert flat.splitlines() in ([], [flat])
    assert flat == flat.strip()
    assert not set(flat) & set(TURNS_DIRECTION)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in flat)


@pytest.mark.parametrize("mark", TURNS_DIRECTION)
def test_no_mark_turns_the_direction_of_what_follows(mark: str) -> None:
    assert mark not in plain(f"a{mark}b")


@given(anything)
def test_what_is_flat_stays_as_it_is(value: str) -> None:
    assert plain(plain(value)) == plain(value)


@given(st.text("ab \\|*\n", max_size=60), st.integers(1, 40))
def test_a_text_is_cut_after_its_longest_length_and_never_in_an_escape(value: str, longest: int) -> None:
    assert len(plain(value, longest)) <= longest
    assert plain(value, 100) == plain(value, longest) or plain(value, longest).endswith("…")
    assert text(value, longest) == text(plain(value, longest))


@given(st.lists(st.lists(anything, min_size=3, max_size=3), max_size=4), st.sampled_from([text, link, pool_link]))
def test_no_name_breaks_a_row_of_a_table(rows: list[list[str]], show: Callable[..., str]) -> None:
    cells = [[show(name, "../x") if show is link else show(name) for name in row] for row in rows]
    lines = table(["A", "B", "C"], cells).split("\n")
    assert len(lines) == 2 + len(rows)
    assert {pipes(line) for line in lines} == {4}


@given(anything)
def test_the_text_of_a_link_is_the_same_whether_it_is_read_as_markdown_or_not(name: str) -> None:
    shown = link(name, "../target")
    assert shown.endswith("](../target)")
    assert shown.count("](../target)") == 1
    label = shown.removesuffix("](../target)")
    if label.startswith("["):
        assert label in ("[↗", f"[{plain(name)}")
        assert not set(label.removeprefix("[")) & set("`*~<>&\\|[]!")
    else:
        assert label == f"{text(name)} [↗"


@pytest.mark.parametrize("name", ["my_pool", "etl-nightly", "a.b", "größe", "2nd pool (new)", "a_b_c"])
def test_an_ordinary_name_is_a_link_itself(name: str) -> None:
    assert link(name, "../x") == f"[{name}](../x)"


@pytest.mark.parametrize("name", ["*a*", "_a_", "a_", "`a`", "<a>", "a|b", "[a]", "a\\", "!a", "~a~", "&amp;"])
def test_a_name_that_markdown_would_change_has_its_link_beside_it(name: str) -> None:
    assert link(name, "../x") == f"{text(name)} [↗](../x)"


@pytest.mark.parametrize("name", ["", "  ", "\n", "\u200b"])
def test_a_name_that_cannot_be_seen_still_has_a_link(name: str) -> None:
    assert link(name, "../x") == "[↗](../x)"


@given(anything)
def test_the_address_of_a_pool_holds_nothing_that_ends_a_link(name: str) -> None:
    target = pool_link(name).rpartition("](")[2].removesuffix(")")
    assert re.fullmatch(r"\.\./\.\./work-pools/work-pool/[\w.~%-]*", target, re.ASCII)


def test_links_stay_in_the_ui_the_reader_is_in() -> None:
    for shown in (pool_link("etl"), run_link("owl", "1"), deployment_link("flow/x", "1")):
        assert "](../../" in shown


@pytest.mark.parametrize(
    ("used", "limit", "shown"),
    [
        (0, 10, "`░░░░░░░░░░` 0 of 10"),
        (1, 100, "`█░░░░░░░░░` 1 of 100"),
        (5, 10, "`█████░░░░░` 5 of 10"),
        (99, 100, "`██████████` 99 of 100"),
        (10, 10, "`██████████` 10 of 10"),
        (12, 10, "`██████████` 12 of 10"),
        (0, 0, "`██████████` 0 of 0"),
        (3, None, "3 of no limit"),
    ],
)
def test_a_bar_is_filled_as_far_as_slots_are_in_use(used: int, limit: int | None, shown: str) -> None:
    assert bar(used, limit) == shown


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_bar_is_always_ten_cells_and_empty_only_where_nothing_is_in_use(used: int, limit: int) -> None:
    cells = bar(used, limit).split("`")[1]
    assert len(cells) == 10
    assert cells == "█" * cells.count("█") + "░" * cells.count("░")
    assert ("█" in cells) is (used > 0 or limit == 0)


def test_a_list_that_was_cut_says_how_much_is_missing() -> None:
    assert capped("page", 53, 50) == "page\n\n… and 3 more."
    assert capped("page", 50, 50) == "page"


def test_an_instant_is_shown_to_the_second_and_none_as_a_dash() -> None:
    assert moment(NOW) == "2026-03-29 12:00:00"
    assert moment(None) == "–"


def test_parts_that_say_nothing_leave_no_gap() -> None:
    assert sections("a", "", "  \n", "b\n") == "a\n\nb\n"

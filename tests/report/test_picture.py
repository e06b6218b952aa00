import base64
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.report.markdown import plain
from flows.report.picture import CHARACTER, HEIGHT, LEFT, RIGHT, WIDTH, Bars, draw, image
from tests.strategies import HOSTILE, names, texts

# What XML can hold at all.
titles = (names | texts).filter(lambda title: not set(title) & {"\ufffe", "\uffff"})
limits = st.none() | st.integers(0, 12) | st.integers(0, 10**6)
values = st.lists(st.integers(0, 12) | st.integers(0, 10**6), max_size=80)


def drawn(bars: Bars) -> ET.Element:
    return ET.fromstring(draw(bars))  # noqa: S314 - our own picture


def bars(values: Sequence[int], limit: int | None = None, title: str = "etl", label: str = "12:00") -> Bars:
    return Bars(title, [label] * len(values), values, limit)


def found(picture: ET.Element, tag: str, kind: str) -> list[ET.Element]:
    return [each for each in picture.iter(f"{{http://www.w3.org/2000/svg}}{tag}") if each.get("class") == kind]


def number(each: ET.Element, name: str) -> float:
    return float(each.attrib[name])


def words(picture: ET.Element) -> list[str]:
    return [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}text")]


class Tags(HTMLParser):
    """The tags of a piece of HTML with their attributes, and the text around them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(titles, values, limits)
def test_a_picture_is_well_formed_and_says_its_title_whatever_it_shows(
    title: str, values: list[int], limit: int | None
) -> None:
    picture = drawn(bars(values, limit, title, label=plain(title)))
    assert [each.text or "" for each in picture.findall("{http://www.w3.org/2000/svg}title")] == [plain(title)]
    assert words(picture)[0] == plain(title, 70)
    assert {each.tag.rpartition("}")[2] for each in picture.iter()} == {"svg", "title", "style", "rect", "text", "line"}


@pytest.mark.parametrize(
    "title", [*HOSTILE, "]]>", "--><script/>", "&#0;", "</title>", "'\"", "\x00\x0b\x1f", "\u202e"]
)
def test_no_title_gets_out_of_its_place(title: str) -> None:
    picture = drawn(bars([1], 1, title))
    plainest = drawn(bars([1], 1))
    assert [(each.tag, sorted(each.attrib)) for each in picture.iter()] == [
        (each.tag, sorted(each.attrib)) for each in plainest.iter()
    ]


@given(values, limits)
def test_what_is_above_the_limit_stands_out_and_nothing_else_does(values: list[int], limit: int | None) -> None:
    picture = drawn(bars(values, limit))
    assert len(found(picture, "rect", "above")) == (0 if limit is None else sum(each > limit for each in values))
    within = values if limit is None else [min(each, limit) for each in values]
    assert len(found(picture, "rect", "within")) == sum(each > 0 for each in within)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.none() | st.integers(1, 50))
def test_bars_are_as_high_as_their_values_and_stand_beside_each_other(values: list[int], limit: int | None) -> None:
    picture = drawn(bars(values, limit))
    within, above = found(picture, "rect", "within"), found(picture, "rect", "above")
    unit = number(within[0], "height") / min(values[0], limit or values[0])
    below = [value if limit is None else min(value, limit) for value in values]
    assert [number(each, "height") for each in within] == pytest.approx(
        [unit * each for each in below], rel=0.2, abs=0.2
    )
    ground = {round(number(each, "y") + number(each, "height")) for each in within}
    assert len(ground) == 1
    tops = [number(each, "y") for each in within]
    over = iter(above)
    for value, top in zip(values, tops, strict=True):
        if limit is not None and value > limit:
            upper = next(over)
            assert number(upper, "y") + number(upper, "height") == pytest.approx(top, abs=0.2)
    for each, then in pairwise(within):
        assert number(each, "x") + number(each, "width") <= number(then, "x") + 0.2
    assert number(within[0], "x") >= LEFT
    assert number(within[-1], "x") + number(within[-1], "width") <= WIDTH - RIGHT + 0.1


@given(values, limits)
def test_nothing_is_drawn_outside_the_frame(values: list[int], limit: int | None) -> None:
    for each in drawn(bars(values, limit)).iter():
        for name in ("x", "x1", "x2"):
            assert 0 <= float(each.get(name, 0)) <= WIDTH
        for name in ("y", "y1", "y2"):
            assert 0 <= float(each.get(name, 0)) <= HEIGHT
        assert float(each.get("height", 0)) >= 0
        assert float(each.get("width", 0)) >= 0


@pytest.mark.parametrize(("limit", "said"), [(None, "no limit"), (0, "– – limit 0"), (7, "– – limit 7")])
def test_the_limit_is_a_line_with_its_number_and_none_is_said(limit: int | None, said: str) -> None:
    picture = drawn(bars([7, 3, 9], limit))
    assert said in words(picture)
    lines = found(picture, "line", "line")
    assert len(lines) == (limit is not None)
    if limit == 7:
        assert number(lines[0], "y1") == number(found(picture, "rect", "within")[0], "y")


def test_a_picture_of_nothing_still_has_its_ground_line_and_its_words() -> None:
    picture = drawn(bars([0, 0], 0))
    assert found(picture, "rect", "within") == found(picture, "rect", "above") == []
    assert words(picture) == ["etl", "0", "1", "12:00", "12:00", "– – limit 0"]


def test_without_any_stretch_there_are_no_bars() -> None:
    assert found(drawn(bars([])), "rect", "within") == []


@given(st.integers(1, 745), st.sampled_from(["12:00", "29 Mar 12h"]))
def test_labels_stand_below_their_bars_and_never_on_each_other(number_of_bars: int, label: str) -> None:
    picture = drawn(bars([1] * number_of_bars, label=label))
    below = [number(each, "x") for each in picture.iter("{http://www.w3.org/2000/svg}text") if each.text == label]
    assert below
    first = found(picture, "rect", "within")[0]
    assert below[0] == pytest.approx(number(first, "x") + number(first, "width") / 2, abs=0.2)
    assert all(then - each > len(label) * CHARACTER for each, then in pairwise(below))


def test_every_bar_has_its_label_where_there_is_room() -> None:
    labels = [f"{hour:02}:00" for hour in range(5)]
    assert [each for each in words(drawn(Bars("etl", labels, [1] * 5, None))) if ":" in each] == labels


@given(names | texts, names | texts)
def test_an_image_is_one_tag_that_shows_the_picture_and_says_what_it_shows(svg: str, alternative: str) -> None:
    html = image(svg, alternative)
    tags = Tags(html)
    ((tag, attributes),) = tags.found
    assert (tag, tags.text) == ("img", "")
    assert attributes["alt"] == plain(alternative)
    assert set(attributes) == {"alt", "src"}
    kind, _, data = str(attributes["src"]).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == svg


@given(names | texts)
def test_an_image_is_one_line_of_which_markdown_leaves_nothing_to_read(alternative: str) -> None:
    assert re.fullmatch(
        r'<img alt="[^"<>\n]*" src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]*">', image("", alternative)
    )

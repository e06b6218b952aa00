import base64
import re
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.circuit import Circuit, Moment, Phase
from flows.report.story import SHOWN, story_picture
from tests.builders import NOW, ago, coming
from tests.circuits import circuit, pool_target
from tests.strategies import names

SVG = "{http://www.w3.org/2000/svg}"


def told(name: str, *moments: tuple[float, Phase], until: datetime | None = None) -> Circuit:
    """A circuit that turned so many minutes ago each."""
    story = tuple(Moment(at=ago(minutes=minutes), phase=phase, reason="why") for minutes, phase in moments)
    return circuit(moments[-1][1], of=pool_target(name), story=story, until=until)


def drawn(html: str) -> ET.Element:
    found = re.fullmatch(r'<img alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]+)">', html)
    assert found, html
    return ET.fromstring(base64.b64decode(found[2]))  # noqa: S314 - our own


def bands(html: str) -> list[tuple[str, float, float]]:
    """Kind, beginning and end of each band, without paper and legend."""
    rects = [rect for rect in drawn(html).iter(f"{SVG}rect") if rect.get("height") == "16"]
    return [(r.attrib["class"], float(r.attrib["x"]), float(r.attrib["x"]) + float(r.attrib["width"])) for r in rects]


def test_nothing_to_tell_is_no_picture() -> None:
    assert story_picture([], NOW) == ""
    assert story_picture([told("etl", (60 * 13, Phase.CLOSED))], NOW) == ""


def test_each_phase_is_a_band_that_ends_where_the_next_begins() -> None:
    found = bands(story_picture([told("etl", (30, Phase.OPEN), (20, Phase.HALF_OPEN), (10, Phase.CLOSED))], NOW))
    assert [kind for kind, *_ in found] == ["above", "trial", "quiet"]
    assert [round(after[1] - before[2]) for before, after in pairwise(found)] == [0, 0]
    assert len({round(end - begin) for _, begin, end in found}) == 1


def test_a_pause_goes_on_to_the_end_of_its_lease() -> None:
    (band,) = bands(story_picture([told("etl", (10, Phase.OPEN), until=coming(minutes=10))], NOW))
    now = next(drawn(story_picture([told("etl", (10, Phase.OPEN), until=coming(minutes=10))], NOW)).iter(f"{SVG}line"))
    assert band[1] < float(now.attrib["x1"]) < band[2]


def test_only_the_latest_are_drawn() -> None:
    many = [told(f"pool-{number}", (number + 1, Phase.OPEN)) for number in range(SHOWN + 5)]
    html = story_picture(many, NOW)
    assert len(bands(html)) == SHOWN
    assert f"pool-{SHOWN}" not in html


@given(
    st.lists(
        st.tuples(names, st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(Phase)), min_size=1, max_size=8)),
        max_size=4,
    ),
    st.none() | st.integers(1, 400),
)
def test_any_story_is_a_picture_within_its_paper(
    stories: list[tuple[str, list[tuple[int, Phase]]]], minutes: int | None
) -> None:
    until = None if minutes is None else NOW + timedelta(minutes=minutes)
    circuits = [told(name, *sorted(moments, key=lambda each: -each[0]), until=until) for name, moments in stories]
    html = story_picture(circuits, NOW)
    if html:
        for _, begin, end in bands(html):
            assert 189 < begin <= end < 688

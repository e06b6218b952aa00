import base64
import re
import xml.etree.ElementTree as ET
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.report.fleet_picture import SHOWN, TRACK, fleet_picture
from tests.report.test_overview import row
from tests.strategies import names

SVG = "{http://www.w3.org/2000/svg}"


def drawn(html: str) -> tuple[str, ET.Element]:
    found = re.fullmatch(r'<img alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]+)">', html)
    assert found, html
    return found[1], ET.fromstring(base64.b64decode(found[2]))  # noqa: S314 - our own


def words(html: str) -> list[str]:
    return [element.text or "" for element in drawn(html)[1].iter(f"{SVG}text")]


def bars(html: str, kind: str) -> list[float]:
    rects = (rect.attrib for rect in drawn(html)[1].iter(f"{SVG}rect"))
    return [float(each["width"]) for each in rects if each["class"] == kind]


def test_without_work_pools_there_is_no_picture() -> None:
    assert fleet_picture([]) == ""


def test_a_bar_is_as_long_as_its_share() -> None:
    html = fleet_picture([row(concurrency_limit=4, active=1, finished=10, failed=5)])
    assert bars(html, "within") == [TRACK / 4]
    assert bars(html, "above") == [TRACK / 2]


def test_what_is_drawn_is_also_told_in_words() -> None:
    alternative, _ = drawn(fleet_picture([row("etl", late=3, failed=5), row("gpu", concurrency_limit=None)]))
    assert "etl: 1 of 4 slots taken, 5 of 20 runs failed, 3 late" in alternative
    assert "gpu: 1 of no limit taken" in alternative


def test_of_many_pools_the_worst_are_drawn_and_it_says_so() -> None:
    rows = [row(f"pool-{number:02}", failed=number) for number in range(20)]
    html = fleet_picture(rows)
    assert f"Work pools (the worst {SHOWN} of 20)" in words(html)
    assert "pool-19" in words(html)
    assert "pool-00" not in words(html)


@given(st.lists(st.tuples(names, st.integers(0, 50), st.none() | st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_no_bar_is_longer_than_its_track_and_every_name_is_text(pools: list[Any]) -> None:
    rows = [
        row(name, active=active, concurrency_limit=limit, finished=9, failed=failed)
        for name, active, limit, failed in pools
    ]
    html = fleet_picture(rows)
    assert all(width <= TRACK for kind in ("within", "above", "quiet") for width in (bars(html, kind) if html else []))

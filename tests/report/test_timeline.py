import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.policy.foreseen import Preview
from flows.policy.preview import foresee
from flows.policy.upcoming import ScheduleFacts
from flows.report.bands import BAND, NAMES, SHOWN
from flows.report.picture import RIGHT, WIDTH
from flows.report.timeline import STROKE, WAITING, timeline_picture
from tests.builders import coming, deployment, question, schedule, state, upcoming, upcoming_facts
from tests.report.test_story import SVG, drawn
from tests.strategies import names

HALF_HOURLY = [coming(minutes=10 + 30 * number) for number in range(48)]


def foreseen(
    *schedules: ScheduleFacts, of: dict[str, Any] | None = None, took: float = 10, hours: int = 24, **changed: Any
) -> Preview:
    """A preview of the pool `etl`, as `of` changes it, on which runs of `flow/nightly` take so many minutes."""
    past = {"id-flow/nightly": (timedelta(minutes=took),)}
    facts = upcoming_facts(state(of=of or {}), schedules=schedules, **{"past": past, **changed})
    return foresee(facts, question(hours=hours))


def picture(preview: Preview) -> str:
    return timeline_picture(preview, preview.expectations)


def bands(html: str, kind: str) -> list[tuple[float, float, float]]:
    """Beginning, end and height of each band of a kind, without the legend's."""
    rects = [rect for rect in drawn(html).iter(f"{SVG}rect") if rect.get("rx") == "2" and rect.get("y") != "11"]
    return [
        (float(r.attrib["x"]), float(r.attrib["x"]) + float(r.attrib["width"]), float(r.attrib["height"]))
        for r in rects
        if r.attrib["class"] == kind
    ]


def texts(html: str) -> list[str]:
    return [element.text or "" for element in drawn(html).iter(f"{SVG}text")]


def alternative(html: str) -> str:
    return html.split('alt="', 1)[1].split('"', 1)[0]


def test_where_nothing_is_due_soon_there_is_no_picture() -> None:
    assert picture(foreseen()) == ""
    assert picture(foreseen(schedule(coming(hours=7)))) == ""


def test_a_run_is_a_band_from_its_start_for_as_long_as_runs_usually_take() -> None:
    html = picture(foreseen(schedule(coming(hours=3)), took=60))
    ((begin, end, height),) = bands(html, "within")
    hour = (WIDTH - RIGHT - NAMES) / 6
    assert abs(begin - NAMES - 3 * hour) < 0.2
    assert abs(end - begin - hour) < 0.2
    assert height == BAND


def test_a_run_that_waits_has_a_thinner_band_before_it() -> None:
    html = picture(
        foreseen(schedule(coming(hours=1), coming(hours=1, minutes=20)), of={"concurrency_limit": 1}, took=60)
    )
    ((begin, end, height),) = bands(html, "trial")
    assert height == WAITING
    assert end - begin > STROKE
    ((_, last, _),) = bands(html, "within")
    assert end < last
    assert "1 waits" in alternative(html)


def test_runs_of_a_paused_pool_are_strokes_and_the_words_say_stopped() -> None:
    html = picture(foreseen(schedule(*HALF_HOURLY), of={"is_paused": True}))
    assert bands(html, "within") == []
    assert {round(end - begin, 1) for begin, end, _ in bands(html, "above")} == {STROKE}
    assert "flow/nightly: 12 runs, the first due at 12:10, 12 stopped" in alternative(html)


def test_a_run_of_which_nobody_knows_when_it_starts_is_not_told_to_be_stopped() -> None:
    runs = schedule(coming(minutes=5), coming(minutes=6))
    html = picture(foreseen(runs, of={"concurrency_limit": 1}, past={}))
    assert bands(html, "above") == []
    assert "stopped" not in alternative(html)


def test_what_is_late_is_drawn_at_now() -> None:
    late = upcoming(due_at=coming(hours=-1), state_name="Late")
    html = picture(foreseen(of={"is_paused": True}, made=(late,)))
    assert [round(begin) for begin, *_ in bands(html, "above")] == [NAMES]


def test_a_run_every_minute_is_one_band_and_not_hundreds() -> None:
    every_minute = schedule(*(coming(minutes=number) for number in range(1, 600)))
    assert len(bands(picture(foreseen(every_minute, took=1)), "within")) == 1


def test_of_many_deployments_those_are_drawn_that_are_stopped_first() -> None:
    more = [deployment(f"flow/{number:02}", pool="etl", queue_id="id-etl-default") for number in range(SHOWN + 3)]
    ordinary = [schedule(coming(minutes=number + 1), of=each.name, name=each.name) for number, each in enumerate(more)]
    stopped = deployment("gpu/train", pool="gpu", queue_id="id-gpu-default")
    preview = foresee(
        upcoming_facts(
            state(),
            state("gpu", of={"is_paused": True}),
            deployments=[*more, stopped],
            schedules=(*ordinary, schedule(coming(hours=5), of="gpu/train", name="last")),
        ),
        question(),
    )
    shown = texts(picture(preview))
    assert f"The next 6 hours, {SHOWN} of {SHOWN + 4} deployments" in shown
    assert "gpu/train" in shown
    assert "flow/00" in shown
    assert f"flow/{SHOWN}" not in shown


def test_a_preview_of_an_hour_shows_an_hour() -> None:
    assert "The next 1 hour" in texts(picture(foreseen(schedule(*HALF_HOURLY), hours=1)))


@given(
    st.lists(
        st.tuples(names, st.lists(st.integers(-100, 500), min_size=1, max_size=20, unique=True)),
        max_size=5,
        unique_by=lambda each: each[0],
    ),
    st.none() | st.integers(0, 2),
    st.integers(1, 300),
)
def test_any_hours_are_a_picture_within_its_paper(
    due: Sequence[tuple[str, list[int]]], limit: int | None, took: int
) -> None:
    known = [deployment(name, pool="etl", queue_id="id-etl-default") for name, _ in due]
    schedules = [schedule(*(coming(minutes=at) for at in sorted(times)), of=name, name=name) for name, times in due]
    preview = foreseen(
        *schedules,
        of={"concurrency_limit": limit},
        deployments=known,
        past={f"id-{name}": (timedelta(minutes=took),) for name, _ in due[::2]},
    )
    html = picture(preview)
    if html:
        assert ET.iselement(drawn(html))
        for kind in ("within", "trial", "above"):
            for begin, end, _ in bands(html, kind):
                assert NAMES - 0.1 <= begin <= end <= WIDTH - RIGHT + STROKE

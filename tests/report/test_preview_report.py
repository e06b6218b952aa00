import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from icalendar import Calendar

from flows.policy.foreseen import Question
from flows.policy.preview import foresee
from flows.policy.selection import select_pools
from flows.policy.upcoming import UpcomingFacts
from flows.report.page import Report
from flows.report.picture import Bars, draw
from flows.report.preview import preview_report
from tests.builders import ago, coming, deployment, question, queue, schedule, state, upcoming, upcoming_facts
from tests.strategies import HOSTILE, names

COLUMNS = [
    "start", "pool", "queue", "deployment", "run", "run_id", "source", "verdict", "reason", "expected_start",
]  # fmt: skip
PICTURE = re.compile(r'<img alt="([^"<>]*)" src="data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)">')


def shown(facts: UpcomingFacts, asked: Question | None = None, **options: Any) -> Report:
    return preview_report(foresee(facts, asked or question()), "pool-preview", **options)


def pictures(report: Report) -> Iterator[tuple[str, ET.Element]]:
    for alternative, data in PICTURE.findall(report.markdown):
        yield alternative, ET.fromstring(base64.b64decode(data).decode())  # noqa: S314 - our own picture


def busy(number: int = 3, name: str = "etl", **of: Any) -> UpcomingFacts:
    """A pool with one slot, on which so many runs are due at once."""
    runs = tuple(upcoming(f"run-{each}", pool=name, queue_id=f"id-{name}-default") for each in range(number))
    return upcoming_facts(state(name, of={"concurrency_limit": 1, **of}), made=runs)


def test_the_table_has_a_row_for_each_run_in_the_promised_columns() -> None:
    facts = upcoming_facts(
        state(of={"concurrency_limit": 1}),
        made=(upcoming("brave-owl", due_at=coming(minutes=1)),),
        schedules=(schedule(coming(minutes=1, seconds=30)),),
    )
    first, second = shown(facts).rows
    assert list(first) == COLUMNS
    assert dict(first) == {
        "start": "2026-03-29T12:01:00+00:00",
        "pool": "etl",
        "queue": "default",
        "deployment": "flow/nightly",
        "run": "brave-owl",
        "run_id": "id-brave-owl",
        "source": "scheduled",
        "verdict": "will-start",
        "reason": "",
        "expected_start": "2026-03-29T12:01:00+00:00",
    }
    assert (second["run"], second["run_id"], second["source"]) == ("", "", "projected")
    assert (second["verdict"], second["expected_start"]) == ("will-wait", "2026-03-29T12:02:00+00:00")


def test_the_verdict_counts_what_becomes_of_all_runs() -> None:
    facts = upcoming_facts(
        state(of={"concurrency_limit": 1}),
        state("ml", of={"is_paused": True}),
        made=(
            *busy().made,
            upcoming("x", pool="ml", queue_id="id-ml-default"),
            upcoming("y", pool="ml", due_at=ago(hours=1)),
        ),
    )
    assert shown(facts).verdict == (
        "5 runs in the next 24 hours on 2 work pools: "
        "1 will start when due, 2 will wait (up to 2 min), 1 late, 1 blocked"
    )


def test_the_verdict_says_what_is_only_counted() -> None:
    facts = upcoming_facts(state(), schedules=(schedule(coming(hours=1), beyond=9),))
    assert shown(facts).verdict.startswith("10 runs in the next 24 hours on 1 work pool: 1 will start when due, 9 only")


def test_the_verdict_of_what_if_says_so() -> None:
    report = shown(busy(), question(what_if_limit=3, hours=1))
    assert report.verdict == (
        "3 runs in the next 1 hour on 1 work pool: 3 will start when due; "
        "as if every work pool had a concurrency limit of 3"
    )
    assert "now up to 2 min" in report.markdown


def test_the_page_tells_times_in_the_zone_that_was_asked_for_and_the_table_in_utc() -> None:
    report = shown(busy(1), question(timezone="Asia/Kolkata"))
    assert "Sun 29 Mar 17:40" in report.markdown
    assert report.rows[0]["start"] == "2026-03-29T12:10:00+00:00"


def test_late_and_blocked_runs_of_one_deployment_make_one_line() -> None:
    late = tuple(upcoming(f"run-{each}", due_at=ago(hours=each)) for each in (1, 2, 3))
    page = shown(upcoming_facts(state(of={"is_paused": True}), made=(*late, upcoming("next")))).markdown
    assert "| 3 late | the work pool is paused |" in page
    assert "| blocked: [next](../../runs/flow-run/id-next) | the work pool is paused |" in page
    assert "Sun 29 Mar 09:00" in page


def test_a_run_whose_length_is_unknown_says_so_and_what_is_recommended_is_a_lower_bound() -> None:
    page = shown(upcoming_facts(*busy().pools, made=busy().made, past={})).markdown
    assert "at least 1 (as now)" in page
    assert "unknown: flow\\/nightly" in page


@pytest.mark.parametrize(
    ("limit", "words"), [(1, "**3** (2 more than now)"), (None, "**3** (none is set)"), (5, "3 (2 fewer than now)")]
)
def test_says_which_limit_would_do_and_what_that_would_cost(limit: int | None, words: str) -> None:
    facts = busy(concurrency_limit=limit)
    assert words in shown(facts, question(acceptable_wait_minutes=0)).markdown


def test_names_the_hours_in_which_demand_exceeds_the_limit() -> None:
    assert "| Sun 29 Mar 12:00 – 13:00 | 3 of 1 |" in shown(busy()).markdown


def test_says_what_it_leaves_out() -> None:
    facts = upcoming_facts(
        state(),
        paused_deployments=2,
        paused_schedules=1,
        unreadable=("odd *flow*",),
        gone=("lost",),
        schedules=(
            schedule(coming(hours=1), beyond=9),
            schedule(name="broken", unreadable="failed to find next date"),
        ),
    )
    page = shown(facts).markdown
    assert "2 paused deployments" in page
    assert "1 inactive schedule" in page
    assert "9 runs of [flow/nightly]" in page
    assert "failed to find next date" in page
    assert "odd \\*flow\\*" in page
    assert "lost: deleted" in page


def test_nothing_selected_is_said() -> None:
    facts = UpcomingFacts(select_pools([], [], ["etl"]), busy().now)
    assert "empty list" in shown(facts).verdict
    assert shown(facts).rows == ()


def test_the_busiest_pools_are_drawn_with_their_limit() -> None:
    many = [busy(number, f"pool-{number}") for number in range(1, 8)]
    facts = upcoming_facts(*(facts.pools[0] for facts in many), made=tuple(run for facts in many for run in facts.made))
    _, *drawn = pictures(shown(facts))
    assert [alternative.split()[3] for alternative, _ in drawn] == [f"pool-{number}" for number in (7, 6, 5, 4, 3)]
    assert "at most 7, limit 1" in drawn[0][0]
    words = "".join(drawn[0][1].itertext())
    assert "limit 1" in words


@pytest.mark.parametrize("values", [[0], [0, 0], [1] * 745, [10**6, 0, 3]])
@pytest.mark.parametrize("limit", [None, 0, 1, 10**7])
def test_a_picture_is_well_formed_and_stays_inside_its_frame(values: list[int], limit: int | None) -> None:
    labels = [f"{each:02}:00" for each in range(len(values))]
    drawn = ET.fromstring(draw(Bars("<&>'\"", labels, values, limit)))  # noqa: S314 - our own picture
    height, width = float(drawn.attrib["height"]), float(drawn.attrib["width"])
    for each in drawn.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(each.attrib["height"]) >= 0
        assert 0 <= float(each.attrib.get("y", 0)) <= height
        assert float(each.attrib.get("x", 0)) + float(each.attrib["width"]) <= width + 0.5


@given(names.filter(lambda name: name != "*"), names)
def test_no_name_gets_out_of_its_place(pool: str, name: str) -> None:
    other = deployment(name, id="some-id", pool=pool, queue_id=f"id-{pool}-default")
    runs = tuple(
        upcoming(name, id="run-id", pool=pool, queue_id=f"id-{pool}-default", deployment_id=other.id, due_at=due)
        for due in (coming(minutes=5), coming(minutes=5), ago(hours=1))
    )
    there = state(pool, of={"concurrency_limit": 1}, queues=(queue(name, pool=pool, id=f"id-{pool}-default"),))
    facts = upcoming_facts(there, made=runs, deployments=[other], past={}, unreadable=(name,), gone=(name,))
    report = shown(facts, with_calendar=True)
    usual = shown(upcoming_facts(state(of={"concurrency_limit": 1}), made=busy().made))
    page = PICTURE.sub("", report.markdown)
    assert "<" not in page.replace("<br>", "").replace("\\<", "")
    assert not re.search(r"(?m)^(#{1,6} (?!Late|Load|Work|When|Quiet|Next|Left)|```)", page)
    assert report.verdict.count("\n") == usual.verdict.count("\n") == 0
    assert len(list(pictures(report))) == 2
    for alternative, drawn in pictures(report):
        assert "<" not in alternative
        assert {each.tag.rpartition("}")[2] for each in drawn.iter()} <= {
            "svg", "title", "style", "rect", "text", "line",
        }  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_calendar_reads_back_with_an_event_for_each_run(name: str) -> None:
    other = deployment(name, pool="etl", queue_id="id-etl-default")
    runs = tuple(upcoming(f"run-{each}", deployment_id=other.id, due_at=coming(minutes=each)) for each in range(3))
    facts = upcoming_facts(
        state(of={"concurrency_limit": 1}), made=runs, deployments=[other], past={other.id: (timedelta(minutes=2),)}
    )
    page = shown(facts, with_calendar=True).calendar
    written = page.partition("```ics\n")[2].rpartition("```")[0]
    events = [each for each in Calendar.from_ical(written).walk() if each.name == "VEVENT"]
    assert [each["dtstart"].dt for each in events] == [coming(minutes=each) for each in (0, 2, 4)]
    assert {each["dtend"].dt - each["dtstart"].dt for each in events} == {timedelta(minutes=2)}
    assert len({each["uid"] for each in events}) == 3
    link = re.search(r"\(data:text/calendar;base64,([A-Za-z0-9+/=]+)\)", page)
    assert link is not None
    assert base64.b64decode(link[1]).decode() == written


def test_a_calendar_has_an_end() -> None:
    facts = upcoming_facts(state(), schedules=(schedule(*(coming(minutes=each) for each in range(2_100))),))
    page = shown(facts, question(hours=48), with_calendar=True).calendar
    assert page.count("BEGIN:VEVENT") == 2_000
    assert "100 later ones are left out" in page

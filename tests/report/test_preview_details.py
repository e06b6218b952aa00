from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from icalendar import Calendar

from flows.policy.preview import foresee
from flows.report.calendar import icalendar_of
from flows.report.picture import Bars, draw
from flows.report.preview import preview_report
from tests.builders import NOW, ago, coming, question, run, schedule, state, upcoming, upcoming_facts


@pytest.mark.parametrize("mark", ["\ufffe", "\uffff"])
def test_a_picture_is_well_formed_whatever_character_a_name_has(mark: str) -> None:
    ET.fromstring(draw(Bars(f"a{mark}b", ["12:00"], [1], 1)))  # noqa: S314 - our own picture


def test_two_runs_of_one_deployment_at_one_time_are_two_events() -> None:
    at = coming(hours=1)
    preview = foresee(upcoming_facts(state(), schedules=(schedule(at, name="a"), schedule(at, name="b"))), question())
    events = Calendar.from_ical(icalendar_of(preview, preview.expectations)).walk("VEVENT")
    assert len({str(each["uid"]) for each in events}) == 2


def test_an_event_ends_after_it_begins() -> None:
    facts = upcoming_facts(state(), made=(upcoming(),), past={"id-flow/nightly": (timedelta(milliseconds=400),)})
    preview = foresee(facts, question())
    (event,) = Calendar.from_ical(icalendar_of(preview, preview.expectations)).walk("VEVENT")
    assert event["dtend"].dt > event["dtstart"].dt


def test_how_long_runs_will_wait_is_told_of_those_that_will_wait() -> None:
    there = state(active=(run(deployment_id="id-flow/nightly", since=NOW),), of={"concurrency_limit": 1})
    made = (upcoming("a", due_at=ago(minutes=5)), upcoming("b", due_at=coming(seconds=90)))
    report = preview_report(foresee(upcoming_facts(there, made=made), question()), "pool-preview")
    assert "1 will wait (up to 30 s), 1 late" in report.verdict

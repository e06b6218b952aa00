import base64
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar, Component

from flows.policy.foreseen import Preview
from flows.policy.preview import foresee
from flows.policy.upcoming import Source
from flows.report.calendar import EVENTS, UNKNOWN_LENGTH, calendar_page, icalendar_of
from flows.report.markdown import plain
from flows.report.preview import preview_report
from tests.builders import NOW, ago, coming, deployment, question, queue, schedule, state, upcoming, upcoming_facts
from tests.strategies import HOSTILE, names, ordinary_names, texts

SPECIAL = (
    "a,b;c\\d",
    "\\n",
    "a\nBEGIN:VEVENT",
    "END:VCALENDAR",
    '"x":y',
    "```",
    "~~~",
    "ü" * 90,
    "x" * 400,
    "👩‍👩‍👧" * 30,
)

lengths = st.none() | st.integers(1, 10**5).map(lambda seconds: timedelta(seconds=seconds))


def page_of(preview: Preview) -> str:
    return calendar_page(preview, preview.expectations)


def block(page: str) -> str:
    """What is to be copied out of a page."""
    return page.partition("```ics\n")[2].rpartition("```")[0]


def events(preview: Preview) -> list[Component]:
    return list(Calendar.from_ical(block(page_of(preview))).walk("VEVENT"))


def at(event: Component, name: str) -> datetime:
    found = event[name].dt
    assert isinstance(found, datetime)
    return found


@st.composite
def previews(draw: st.DrawFn) -> Preview:
    """Runs of one deployment, called anything, on a pool that may stop them, and one on no pool at all."""
    pool, name = draw(ordinary_names), draw(names | texts | st.sampled_from(SPECIAL))
    own = deployment(name, id="id-own", pool=pool, queue_id="id-queue")
    there = state(
        pool,
        of={"is_paused": draw(st.booleans()), "concurrency_limit": draw(st.none() | st.integers(0, 2))},
        queues=(queue(draw(names), pool=pool, id="id-queue"),),
    )
    due = draw(st.lists(st.integers(-60, 600), max_size=4, unique=True))
    made = [
        upcoming(
            draw(names),
            id=f"id-{each}",
            due_at=coming(minutes=each),
            pool=pool,
            queue_id="id-queue",
            deployment_id="id-own",
        )
        for each in due
    ]
    lost = upcoming(
        draw(names), id="id-lost", pool=None, queue_id=None, deployment_id=draw(st.sampled_from(["id-own", "?"]))
    )
    length = draw(lengths)
    facts = upcoming_facts(
        there,
        deployments=[own],
        made=(*made, lost),
        schedules=(replace(schedule(*(coming(hours=each) for each in (20, 21))), deployment_id="id-own"),),
        past={"id-own": (length,)} if length else {},
    )
    return foresee(facts, question())


def without_fence(text: str) -> str:
    return text.replace("```", "'''")


@given(previews())
def test_the_block_reads_back_with_one_event_for_each_run(preview: Preview) -> None:
    found = events(preview)
    assert len(found) == len(preview.expectations)
    for each, event in zip(preview.expectations, found, strict=True):
        own = preview.facts.deployments.get(each.run.deployment_id or "")
        assert event["summary"] == without_fence(plain(own.name if own else each.run.name))
        assert event["location"] == without_fence(plain(each.run.pool or ""))
        words = f"{each.standing}: {each.reason}" if each.reason else each.standing
        assert event["description"] == without_fence(plain(words))
        assert at(event, "dtstamp") == NOW


@given(previews())
def test_an_event_begins_when_its_run_is_expected_or_else_due_and_takes_as_long_as_such_runs_do(
    preview: Preview,
) -> None:
    for each, event in zip(preview.expectations, events(preview), strict=True):
        begin = (each.expected_start_at or each.run.due_at).replace(microsecond=0)
        assert at(event, "dtstart") == begin
        usual = preview.lengths.get(each.run.deployment_id or "", UNKNOWN_LENGTH)
        assert at(event, "dtend") - at(event, "dtstart") == usual
        assert at(event, "dtstart").utcoffset() == timedelta(0)


@given(previews())
def test_nothing_in_a_calendar_ends_its_block_and_the_link_holds_the_same(preview: Preview) -> None:
    page = page_of(preview)
    assert len(re.findall(r"(?m)^ {0,3}```", page)) == 2
    (link,) = re.findall(r"\(data:text/calendar;base64,([A-Za-z0-9+/=]+)\)", page)
    assert base64.b64decode(link).decode() == block(page)


@given(previews())
def test_a_calendar_has_short_lines_and_only_its_own(preview: Preview) -> None:
    lines = block(page_of(preview)).rstrip("\n").split("\n")
    assert (lines[0], lines[-1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR")
    assert all(len(line.encode()) <= 75 for line in lines)
    assert all(re.match(r"[A-Z-]+[:;]| ", line) for line in lines)
    assert sum(line.startswith("BEGIN:") for line in lines) == len(preview.expectations) + 1


@given(previews())
def test_each_run_has_an_identity_of_its_own_by_which_a_later_calendar_knows_it(preview: Preview) -> None:
    uids = [str(event["uid"]) for event in events(preview)]
    assert len(set(uids)) == len(uids)
    later = foresee(replace(preview.facts, now=preview.facts.now + timedelta(seconds=5)), preview.question)
    assert [str(event["uid"]) for event in events(later)] == uids


def test_runs_of_one_schedule_that_are_not_made_yet_are_told_apart_by_their_date() -> None:
    dates = schedule(coming(hours=1), coming(hours=1, seconds=1), coming(hours=1, seconds=1, microseconds=1))
    preview = foresee(upcoming_facts(state(), schedules=(dates,)), question())
    assert {each.run.source for each in preview.expectations} == {Source.PROJECTED}
    assert len({str(event["uid"]) for event in events(preview)}) == 3


@pytest.mark.parametrize("name", [*HOSTILE, *SPECIAL])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    own = deployment(name, pool="etl", queue_id="id-etl-default")
    facts = upcoming_facts(state(), deployments=[own], made=(upcoming(deployment_id=own.id),))
    (event,) = events(foresee(facts, question()))
    assert event["summary"] == without_fence(plain(name))
    assert event["location"] == "etl"


def test_a_run_that_is_late_or_blocked_says_so() -> None:
    paused = state(of={"is_paused": True})
    facts = upcoming_facts(paused, made=(upcoming("a"), upcoming("b", due_at=ago(hours=1))))
    found = events(foresee(facts, question()))
    assert [str(each["description"]) for each in found] == [
        "late: the work pool is paused",
        "blocked: the work pool is paused",
    ]


@pytest.mark.parametrize(
    ("more", "said"), [(0, ""), (1, f"It has the first {EVENTS} runs; 1 later ones are left out.")]
)
def test_a_calendar_has_only_so_many_events_and_says_how_many_it_leaves_out(more: int, said: str) -> None:
    # On no pool, where nothing has to be simulated.
    nowhere = deployment(pool=None)
    dates = schedule(*(coming(seconds=each) for each in range(EVENTS + more)))
    page = page_of(foresee(upcoming_facts(state(), deployments=[nowhere], schedules=(dates,)), question()))
    assert page.count("BEGIN:VEVENT") == EVENTS
    assert said in page
    assert ("left out" in page) is bool(more)


def test_nothing_due_is_an_empty_calendar() -> None:
    preview = foresee(upcoming_facts(state()), question())
    assert events(preview) == []
    assert icalendar_of(preview, []).startswith("BEGIN:VCALENDAR\n")


def test_a_calendar_is_made_only_where_it_is_asked_for() -> None:
    preview = foresee(upcoming_facts(state(), made=(upcoming(),)), question())
    assert preview_report(preview, "pool-preview").calendar == ""
    assert preview_report(preview, "pool-preview", with_calendar=True).calendar == page_of(preview)

"""Upcoming runs as a calendar (iCalendar, RFC 5545) that calendar programs load."""

import base64
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from icalendar import Calendar, Event

from flows.policy.forecast import Expectation
from flows.policy.foreseen import Preview
from flows.report.markdown import plain, sections

# Beyond this the page of the artifact gets slow, and no calendar shows it.
EVENTS = 2_000
UNKNOWN_LENGTH = timedelta(minutes=1)
SHORTEST = timedelta(seconds=1)
FENCE = "```"


def calendar_page(preview: Preview, expectations: Sequence[Expectation]) -> str:
    """The calendar inside a page, because an artifact cannot be a file.

    One of Prefect's UIs lets a link carry it, the other makes such a link dead; its text can be copied in both.
    """
    written, left = icalendar_of(preview, expectations[:EVENTS]), len(expectations) - EVENTS
    data = base64.b64encode(written.encode()).decode()
    return sections(
        f"Load this [calendar](data:text/calendar;base64,{data}) into a calendar program. Where the link does nothing, "
        "copy the block below into a file whose name ends in `.ics`.",
        f"It has the first {EVENTS} runs; {left} later ones are left out." if left > 0 else "",
        f"{FENCE}ics\n{written}{FENCE}",
    )


def icalendar_of(preview: Preview, expectations: Sequence[Expectation]) -> str:
    """An event for each run: when it is expected to start, or is due, and for as long as its deployment's runs take."""
    calendar = Calendar()
    calendar.add("prodid", "-//Poolkeeper//pool-preview//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "Prefect runs")
    lengths = preview.lengths
    alike: Counter[str] = Counter()
    for each in expectations:
        length = max(SHORTEST, lengths.get(each.run.deployment_id or "", UNKNOWN_LENGTH))
        event = _event(preview, each, length)
        # Two schedules of a deployment may have the same date.
        uid = str(event["uid"])
        event["uid"] = f"{alike[uid]}-{uid}" if alike[uid] else uid
        alike[uid] += 1
        calendar.add_component(event)
    written: bytes = calendar.to_ical()
    return written.decode().replace("\r\n", "\n").replace(FENCE, "'''")


def _event(preview: Preview, each: Expectation, length: timedelta) -> Event:
    run = each.run
    deployment = preview.facts.deployments.get(run.deployment_id or "")
    begin = each.expected_start_at or run.due_at
    event = Event()
    event.add("uid", f"{run.id or f'{run.deployment_id}-{run.due_at:%Y%m%dT%H%M%S.%fZ}'}@poolkeeper")
    event.add("dtstamp", preview.facts.now)
    event.add("dtstart", begin)
    event.add("dtend", begin + length)
    event.add("summary", plain(deployment.name if deployment else run.name))
    event.add("location", plain(run.pool or ""))
    event.add("description", plain(f"{each.standing}: {each.reason}" if each.reason else each.standing))
    return event

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.forecast import Standing
from flows.policy.foreseen import Preview, Question
from flows.policy.preview import foresee
from flows.policy.selection import select_pools
from flows.policy.upcoming import DATES_COUNTED, UpcomingFacts
from flows.prefect_api.work_pools import describe_template
from flows.report.page import Report
from flows.report.preview import preview_report
from tests.builders import NOW, ago, coming, deployment, question, run, schedule, state, upcoming, upcoming_facts
from tests.report.test_inventory_report import holds_no_html, is_whole, section, tables
from tests.strategies import CANARY, names, ordinary_names, queues, templates_with_canary, workers

COLUMNS = ["start", "pool", "queue", "deployment", "run", "run_id", "source", "verdict", "reason", "expected_start"]
NIGHTLY = "[flow/nightly](../../deployments/deployment/id-flow/nightly)"
HEADINGS = [
    "Late and blocked",
    "Next hours",
    "Load against the limit",
    "Work pools",
    "When demand exceeds the limit",
    "Quiet for at least 30 min",
    "Next",
    "Left out",
]
PICTURE = re.compile(r'^<img alt="[^"<>]*" src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+">$', re.MULTILINE)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"])


def report(facts: UpcomingFacts, asked: Question | None = None, **options: Any) -> Report:
    return preview_report(foresee(facts, asked or question()), "pool-preview", **options)


def page(facts: UpcomingFacts, **asked: Any) -> str:
    return report(facts, question(**asked)).markdown


def without_pictures(shown: Report) -> Report:
    return replace(shown, markdown=PICTURE.sub("", shown.markdown))


def rows(markdown: str, heading: str) -> list[list[str]]:
    """The cells of the table under this heading."""
    (found,) = tables(section(Report("", markdown), heading).strip())
    return [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in found[2:]]


@st.composite
def facts_to_come(draw: st.DrawFn) -> UpcomingFacts:
    """Pools and deployments called anything, with late, waiting, blocked and projected runs, and things left out."""
    pool_names = draw(st.lists(ordinary_names, min_size=1, max_size=2, unique=True))
    deployments = [
        deployment(
            draw(names), id=f"id-{number}", pool=draw(st.sampled_from([*pool_names, None])), queue_id=f"q-{number}"
        )
        for number in range(2)
    ]
    states = [
        state(
            name,
            of={"is_paused": draw(st.booleans()), "concurrency_limit": draw(st.none() | st.integers(0, 2))},
            queues=tuple(
                replace(draw(queues(name)), id=each.queue_id or "") for each in deployments if each.pool == name
            ),
            workers=tuple(draw(st.lists(workers(name), max_size=1))),
            active=(run(draw(names), pool=name, queue_id="q-0", deployment_id="id-0"),) * draw(st.integers(0, 1)),
        )
        for name in pool_names
    ]
    due = draw(st.lists(st.tuples(st.integers(-90, 600), st.sampled_from(deployments)), max_size=5))
    made = tuple(
        upcoming(
            draw(names),
            id=f"run-{number}",
            due_at=coming(minutes=minutes),
            pool=of.pool,
            queue_id=of.queue_id,
            deployment_id=of.id,
        )
        for number, (minutes, of) in enumerate(due)
    )
    dates = sorted(draw(st.sets(st.integers(1, 600), max_size=2)))
    schedules = (
        replace(
            schedule(*(coming(minutes=each) for each in dates), beyond=draw(st.integers(0, 2)) if dates else 0),
            deployment_id=draw(st.sampled_from(["id-0", "id-1"])),
        ),
        replace(schedule(unreadable=draw(names), name="broken"), deployment_id="id-0"),
    )
    return upcoming_facts(
        *states,
        deployments=deployments,
        made=made,
        schedules=schedules,
        past=draw(st.sampled_from([{}, {"id-0": (timedelta(minutes=5),)}])),
        paused_deployments=draw(st.integers(0, 2)),
        paused_schedules=draw(st.integers(0, 2)),
        unreadable=tuple(draw(st.lists(names, max_size=2))),
        gone=tuple(draw(st.lists(names, max_size=2))),
    )


# Names.


@given(facts_to_come(), st.none() | st.integers(1, 3))
def test_no_name_breaks_the_page(facts: UpcomingFacts, limit: int | None) -> None:
    shown = without_pictures(report(facts, question(what_if_limit=limit)))
    assert is_whole(shown)
    assert holds_no_html(shown)
    headings = [line.removeprefix("## ") for line in shown.markdown.split("\n") if line.startswith("#")]
    assert headings == [each for each in HEADINGS if each in headings]
    assert shown.verdict.splitlines() == [shown.verdict]


@given(st.lists(templates_with_canary(), min_size=1, max_size=2))
def test_a_preview_never_holds_a_text_of_a_template(templates: Sequence[dict[str, Any]]) -> None:
    there = [state(f"pool-{i}", of={"template": describe_template(each)}) for i, each in enumerate(templates)]
    made = tuple(upcoming(each.pool.name, pool=each.pool.name, queue_id=each.queues[0].id) for each in there)
    assert CANARY not in repr(report(upcoming_facts(*there, made=made), with_calendar=True))


# The table.


@given(facts_to_come())
def test_the_table_has_a_row_for_each_run_that_tells_what_is_expected_of_it(facts: UpcomingFacts) -> None:
    preview = foresee(facts, question())
    found = preview_report(preview, "pool-preview").rows
    for row, each in zip(found, preview.expectations, strict=True):
        assert list(row) == COLUMNS
        assert row["start"] == each.run.due_at.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        assert (row["pool"] or None, row["run"], row["run_id"]) == (each.run.pool, each.run.name, each.run.id)
        assert row["deployment"] == facts.deployments[each.run.deployment_id or ""].name
        assert (row["source"], row["verdict"], row["reason"]) == (each.run.source, each.standing, each.reason)
        expected = row["expected_start"]
        assert (expected is None) is (each.expected_start_at is None)
        if each.expected_start_at:
            assert datetime.fromisoformat(str(expected)) == each.expected_start_at.replace(microsecond=0)
            assert str(expected).endswith("+00:00")


def test_the_columns_are_there_in_the_promised_order_and_flat() -> None:
    (row,) = report(upcoming_facts(state(), made=(upcoming(),))).rows
    assert list(row) == COLUMNS
    assert all(value is None or type(value) is str for value in row.values())


def test_a_run_of_which_nothing_else_is_known_has_a_row_as_well() -> None:
    lost = upcoming(pool=None, queue_id=None, deployment_id="id-gone")
    (row,) = report(upcoming_facts(state(), made=(lost,))).rows
    assert (row["pool"], row["queue"], row["deployment"], row["expected_start"]) == ("", "", "", None)


# The verdict.


@given(facts_to_come(), st.none() | st.integers(1, 3))
def test_the_verdict_counts_every_run_once(facts: UpcomingFacts, limit: int | None) -> None:
    preview = foresee(facts, question(what_if_limit=limit))
    verdict = preview_report(preview, "pool-preview").verdict
    runs, _, counts = verdict.partition(": ")
    said = {
        words: int(number)
        for number, words in re.findall(r"(\d+) (will start when due|will wait|late|blocked|only counted)", counts)
    }
    standings = {
        "will start when due": Standing.WILL_START,
        "will wait": Standing.WILL_WAIT,
        "late": Standing.LATE,
        "blocked": Standing.BLOCKED,
    }
    for words, standing in standings.items():
        assert said.get(words, 0) == sum(each.standing is standing for each in preview.expectations)
    assert int(runs.split()[0]) == sum(said.values())
    assert ("nothing is due" in counts) is (not said)


# The page.


@given(ZONES, st.integers(0, 600))
def test_times_are_told_by_the_clocks_of_the_zone_that_was_asked_for(zone: str, minutes: int) -> None:
    due = coming(minutes=minutes)
    shown = page(upcoming_facts(state(), made=(upcoming(due_at=due),)), timezone=zone)
    (row,) = rows(shown, "Next")
    assert row[0] == f"{due.astimezone(ZoneInfo(zone)):%a %d %b %H:%M}"
    assert f"Made at {NOW.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S} ({zone}); the table is in UTC." in shown
    assert f"times in {zone}." in section(Report("", shown), "Load against the limit")


def test_only_the_first_runs_that_will_start_are_next() -> None:
    late = upcoming("late", due_at=ago(hours=1))
    coming_up = tuple(upcoming(f"run-{number:02}", due_at=coming(minutes=number)) for number in range(12))
    found = rows(page(upcoming_facts(state(), made=(late, *coming_up))), "Next")
    assert [row[3] for row in found] == [
        f"[run-{number:02}](../../runs/flow-run/id-run-{number:02})" for number in range(10)
    ]
    assert {row[4] for row in found} == {"starts when due"}


def test_a_run_that_is_not_made_yet_has_no_link() -> None:
    (row,) = rows(page(upcoming_facts(state(), schedules=(schedule(coming(hours=1)),))), "Next")
    assert row[3] == "not made yet"


def test_late_runs_stand_apart_where_something_else_is_in_their_way() -> None:
    there = state(queues=(replace(state().queues[0], is_paused=True), replace(state().queues[0], id="q", name="free")))
    made = (
        upcoming("a", due_at=ago(hours=1)),
        upcoming("b", due_at=ago(hours=2)),
        upcoming("c", due_at=ago(hours=3), queue_id="q"),
        upcoming("d", queue_id="q"),
    )
    found = rows(page(upcoming_facts(there, made=made)), "Late and blocked")
    assert [row[1].split("]")[0] for row in found] == ["late: [c", "2 late"]
    assert [row[2] for row in found] == ["nothing is in its way any more", "the work queue \\'default\\' is paused"]
    assert [row[5] for row in found] == ["Sun 29 Mar 12:00", "–"]


def test_a_long_list_of_late_runs_is_cut_and_says_so_while_the_table_has_every_row() -> None:
    others = [deployment(f"flow/{number}", pool="etl", queue_id="id-etl-default") for number in range(53)]
    made = tuple(upcoming(each.name, deployment_id=each.id, due_at=ago(hours=1)) for each in others)
    shown = report(upcoming_facts(state(of={"is_paused": True}), deployments=others, made=made))
    assert len(rows(shown.markdown, "Late and blocked")) == 50
    assert section(shown, "Late and blocked").rstrip().endswith("… and 3 more.")
    assert len(shown.rows) == 53
    assert "[table of 53 runs](../../artifacts/key/pool-preview-table)" in shown.markdown


def test_where_all_is_well_nothing_is_said_of_late_runs_of_limits_or_of_what_is_left_out() -> None:
    shown = page(upcoming_facts(state(), made=(upcoming(),)))
    for heading in ("Late and blocked", "When demand exceeds the limit", "Left out"):
        assert heading not in shown


def test_pools_stand_in_the_order_of_how_many_runs_they_have() -> None:
    made = tuple(upcoming(f"{pool}-{n}", pool=pool, queue_id=f"id-{pool}-default") for pool in "bbc" for n in range(2))
    shown = page(upcoming_facts(*map(state, "abc"), made=made))
    assert [row[0][:2] for row in rows(shown, "Work pools")] == ["[b", "[c", "[a"]
    assert [row[1] for row in rows(shown, "Work pools")] == ["4", "2", "0"]


def test_what_a_pool_with_nothing_due_would_need_is_not_told() -> None:
    (row,) = rows(page(upcoming_facts(state())), "Work pools")
    assert row[1:] == ["0", "0", "0", "0", "0 / 10", "–", "–"]


def test_a_pools_row_tells_its_numbers() -> None:
    there = state(of={"concurrency_limit": 1})
    made = (*(upcoming(name, due_at=coming(minutes=5)) for name in "abc"), upcoming("d", due_at=ago(hours=1)))
    (row,) = rows(page(upcoming_facts(there, made=made), acceptable_wait_minutes=1), "Work pools")
    assert row[1:] == ["4", "2 (up to 2 min)", "1", "0", "3 / 1", "**2** (1 more than now)", "1 past run"]


def test_quiet_times_are_told_of_all_pools_together_only_where_there_are_several() -> None:
    made = (upcoming(due_at=coming(hours=1)),)
    (alone,) = rows(page(upcoming_facts(state(), made=made), hours=2), "Quiet for at least 30 min")
    assert alone[1] == "Sun 29 Mar 12:00 – 13:00 (1 h)<br>Sun 29 Mar 13:01 – 14:00 (59 min)"
    both = rows(page(upcoming_facts(state(), state("ml"), made=made), hours=2), "Quiet for at least 30 min")
    assert [row[0].split("]")[0] for row in both] == ["all of these", "[etl", "[ml"]
    assert [row[1] for row in both] == [alone[1], alone[1], "Sun 29 Mar 12:00 – 14:00 (2 h)"]


def test_where_it_is_never_quiet_the_least_busy_time_is_told() -> None:
    made = tuple(upcoming(f"run-{each}", due_at=coming(minutes=20 * each)) for each in range(7))
    busy = upcoming_facts(
        state(),
        made=(*made, upcoming("more", due_at=coming(minutes=20))),
        past={"id-flow/nightly": (timedelta(minutes=9),)},
    )
    (row,) = rows(page(busy, hours=2), "Quiet for at least 30 min")
    assert row[1] == "never; least busy Sun 29 Mar 13:00 – 14:00, with 1 slot wanted"


@pytest.mark.parametrize(("hours", "label"), [(24, "12:00"), (25, "29 Mar 12h"), (744, "29 Mar 12h")])
def test_pictures_of_more_than_a_day_name_the_day(hours: int, label: str) -> None:
    facts = upcoming_facts(state(), made=(upcoming(),))
    preview = foresee(facts, question(hours=hours))
    assert label in picture_words(preview)


def picture_words(preview: Preview) -> list[str]:
    data = re.findall(r"base64,([A-Za-z0-9+/=]+)", preview_report(preview, "pool-preview").markdown)[-1]
    picture = ET.fromstring(base64.b64decode(data).decode())  # noqa: S314 - our own picture
    return [each.text or "" for each in picture.iter() if each.tag.endswith("text")]


# What is left out.


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"paused_deployments": 1}, "1 paused deployment: no runs are made of them."),
        ({"paused_deployments": 2}, "2 paused deployments: no runs are made of them."),
        ({"paused_schedules": 1}, "1 inactive schedule of other deployments."),
        ({"unreadable": ("etl-flow",)}, "Deployments of flow etl\\-flow that the server itself cannot read."),
        ({"gone": ("old-one",)}, "old\\-one: deleted while it was read."),
        (
            {"schedules": (schedule(unreadable="no such month"),)},
            f"A schedule of {NIGHTLY} that cannot be read: no such month.",
        ),
        (
            {"schedules": (schedule(coming(hours=1), beyond=7),)},
            f"7 runs of {NIGHTLY} that are due after Sun 29 Mar 13:00: too many to list.",
        ),
        (
            {"schedules": (schedule(coming(hours=1), beyond=DATES_COUNTED),)},
            f"at least {DATES_COUNTED} runs of {NIGHTLY} that are due after Sun 29 Mar 13:00: too many to list.",
        ),
    ],
)
def test_whatever_is_left_out_is_said(changed: dict[str, Any], said: str) -> None:
    assert section(report(upcoming_facts(state(), **changed)), "Left out").strip().split("\n")[0] == f"- {said}"


def test_runs_that_were_too_many_to_list_are_said_and_counted() -> None:
    preview = replace(foresee(upcoming_facts(state(), made=(upcoming(),)), question()), unlisted=4)
    shown = preview_report(preview, "pool-preview")
    assert "- 4 runs that are due after those in the table: too many to list." in section(shown, "Left out")
    assert shown.verdict == "5 runs in the next 24 hours on 1 work pool: 1 will start when due, 4 only counted"


@pytest.mark.parametrize(
    ("pools", "exclude", "why"), [([], [], "empty list"), (["x*"], [], "'x*'"), (["*"], ["etl"], "excluded by 'etl'")]
)
def test_an_empty_selection_says_why_and_nothing_else(pools: list[str], exclude: list[str], why: str) -> None:
    facts = UpcomingFacts(select_pools(pools, exclude, ["etl"]), NOW)
    shown = report(facts, with_calendar=True)
    assert why in shown.verdict
    assert (shown.rows, shown.calendar, tables(shown.markdown)) == ((), "", [])
    assert shown.markdown.endswith("Nothing was read beyond the names.\n")

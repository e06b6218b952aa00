from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.upcoming import ScheduleFacts, Source, UpcomingFacts, UpcomingRun, upcoming_runs
from tests.builders import coming, deployment, schedule, state, upcoming, upcoming_facts

AT = coming(hours=1)
ALL = 10_000

# Few moments and few names, so that things meet.
moments = st.integers(0, 5).map(lambda minutes: coming(minutes=minutes))
letters = st.sampled_from("abc")


def runs_of(facts: UpcomingFacts, most: int = ALL) -> list[UpcomingRun]:
    return list(upcoming_runs(facts, most=most)[0])


def expected_dates(facts: UpcomingFacts) -> Counter[tuple[str | None, datetime]]:
    """The dates to be projected, with their deployment, by asking of each date whether it has had its run."""
    return Counter(
        (each.deployment_id, date)
        for each in facts.schedules
        for date in each.dates
        if not any(occasion == (each.deployment_id, each.id, date) for occasion in facts.occasions)
    )


@st.composite
def facts_to_come(draw: st.DrawFn) -> UpcomingFacts:
    """Runs that were made, schedules, and dates that have had their runs, some of these of those schedules."""
    deployments = [
        deployment(each, pool=draw(st.sampled_from(["etl", "web", None])), queue_id=draw(st.none() | letters))
        for each in "abc"
    ]
    schedules = draw(
        st.lists(
            st.builds(
                lambda of, name, dates: schedule(*sorted(dates), of=of, name=name),
                letters,
                letters,
                st.lists(moments, max_size=4, unique=True),
            ),
            max_size=5,
        )
    )
    ids = letters.map("id-{}".format)
    made = draw(
        st.lists(
            st.builds(upcoming, st.uuids().map(str), due_at=moments, pool=st.none() | letters, deployment_id=ids),
            max_size=4,
        )
    )
    return upcoming_facts(
        state("etl"),
        state("web"),
        deployments=deployments,
        made=tuple(made),
        schedules=tuple(schedules),
        occasions=draw(st.frozensets(st.tuples(ids, ids, moments), max_size=20)),
    )


def test_a_schedules_date_becomes_a_run_of_its_deployment_on_its_pool_and_queue() -> None:
    nightly = deployment(pool="etl", queue_id="id-etl-slow")
    (run,) = runs_of(upcoming_facts(state(), deployments=[nightly], schedules=(schedule(AT),)))
    assert run == UpcomingRun(
        due_at=AT,
        pool="etl",
        queue_id="id-etl-slow",
        deployment_id=nightly.id,
        source=Source.PROJECTED,
        id="",
        name="",
        state_name="Scheduled",
    )


def test_a_run_that_has_been_made_is_not_projected_again() -> None:
    made = upcoming(due_at=AT)
    occasion = ("id-flow/nightly", "id-daily", AT)
    facts = upcoming_facts(state(), made=(made,), schedules=(schedule(AT),), occasions=frozenset([occasion]))
    assert runs_of(facts) == [made]


def test_a_run_that_was_put_off_is_not_projected_at_its_first_date_again() -> None:
    made = upcoming(due_at=AT + timedelta(hours=3))
    occasion = ("id-flow/nightly", "id-daily", AT)
    facts = upcoming_facts(state(), made=(made,), schedules=(schedule(AT),), occasions=frozenset([occasion]))
    assert runs_of(facts) == [made]


def test_a_date_whose_run_was_cancelled_or_has_ended_is_not_projected_again() -> None:
    tomorrow = AT + timedelta(days=1)
    occasion = ("id-flow/nightly", "id-daily", AT)
    facts = upcoming_facts(state(), schedules=(schedule(AT, tomorrow),), occasions=frozenset([occasion]))
    assert [run.due_at for run in runs_of(facts)] == [tomorrow]


@pytest.mark.parametrize(
    "other",
    [
        ("id-flow/other", "id-daily", AT),
        ("id-flow/nightly", "id-weekly", AT),
        ("id-flow/nightly", "id-daily", AT + timedelta(microseconds=1)),
        ("id-daily", "id-flow/nightly", AT),
    ],
)
def test_only_the_same_date_of_the_same_schedule_and_deployment_counts(other: Any) -> None:
    facts = upcoming_facts(state(), schedules=(schedule(AT),), occasions=frozenset([other]))
    assert len(runs_of(facts)) == 1


def test_the_same_date_told_by_other_clocks_is_the_same() -> None:
    occasion = ("id-flow/nightly", "id-daily", AT.astimezone(ZoneInfo("Asia/Kolkata")))
    facts = upcoming_facts(state(), schedules=(schedule(AT),), occasions=frozenset([occasion]))
    assert runs_of(facts) == []


def test_a_run_that_a_person_made_for_the_same_time_comes_besides() -> None:
    facts = upcoming_facts(state(), made=(upcoming(due_at=AT),), schedules=(schedule(AT),))
    assert [run.source for run in runs_of(facts)] == [Source.PROJECTED, Source.SCHEDULED]


def test_two_identical_schedules_of_one_deployment_both_make_runs() -> None:
    twice = upcoming_facts(state(), schedules=(schedule(AT, name="a"), schedule(AT, name="b")))
    assert [run.due_at for run in runs_of(twice)] == [AT, AT]
    once = replace(twice, occasions=frozenset([("id-flow/nightly", "id-a", AT)]))
    assert [run.due_at for run in runs_of(once)] == [AT]


def test_equal_schedules_of_two_deployments_are_two() -> None:
    others = [deployment("flow/other", pool="web")]
    schedules = (schedule(AT), schedule(AT, of="flow/other"))
    facts = upcoming_facts(state(), state("web"), deployments=others, schedules=schedules)
    assert [run.pool for run in runs_of(facts)] == ["etl", "web"]


def test_a_schedule_that_cannot_be_read_makes_no_runs_and_stops_no_other() -> None:
    broken = ScheduleFacts("id-broken", "id-flow/nightly", unreadable="no such month")
    assert len(runs_of(upcoming_facts(state(), schedules=(broken, schedule(AT))))) == 1


def test_dates_that_were_only_counted_are_no_runs() -> None:
    many = schedule(AT, beyond=1000)
    assert upcoming_runs(upcoming_facts(state(), schedules=(many,)), most=ALL)[1] == 0
    assert len(runs_of(upcoming_facts(state(), schedules=(many,)))) == 1


def test_runs_without_a_pool_come_as_well() -> None:
    homeless = upcoming_facts(deployments=[deployment(pool=None)], schedules=(schedule(AT),))
    assert [run.pool for run in runs_of(homeless)] == [None]


@given(facts_to_come())
def test_no_run_is_missing_and_none_comes_twice(facts: UpcomingFacts) -> None:
    runs = runs_of(facts)
    projected = [run for run in runs if run.source is Source.PROJECTED]
    assert Counter((run.deployment_id, run.due_at) for run in projected) == expected_dates(facts)
    assert Counter(run for run in runs if run.source is Source.SCHEDULED) == Counter(facts.made)


@given(facts_to_come())
def test_a_projected_run_goes_where_its_deployment_does(facts: UpcomingFacts) -> None:
    for run in runs_of(facts):
        if run.source is Source.PROJECTED:
            its = facts.deployments[run.deployment_id or ""]
            assert (run.pool, run.queue_id, run.id, run.name) == (its.pool, its.queue_id, "", "")


@given(facts_to_come(), st.data())
def test_runs_come_in_the_order_in_which_they_are_due_whatever_was_read_first(
    facts: UpcomingFacts, data: st.DataObject
) -> None:
    runs = runs_of(facts)
    assert [run.due_at for run in runs] == sorted(run.due_at for run in runs)
    made, schedules = data.draw(st.permutations(facts.made)), data.draw(st.permutations(facts.schedules))
    assert runs_of(replace(facts, made=tuple(made), schedules=tuple(schedules))) == runs


@given(facts_to_come(), st.integers(0, 30))
def test_at_most_so_many_are_listed_and_the_later_ones_counted(facts: UpcomingFacts, most: int) -> None:
    every = runs_of(facts)
    listed, beyond = upcoming_runs(facts, most=most)
    assert list(listed) == every[:most]
    assert beyond == len(every[most:])


def test_nothing_due_is_nothing_to_come() -> None:
    assert upcoming_runs(upcoming_facts(state()), most=ALL) == ((), 0)

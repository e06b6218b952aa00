from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.backlog import WaitingRun, to_drop
from flows.policy.recovery import Backlog
from tests.builders import NOW, ago
from tests.circuits import waiting

policies: st.SearchStrategy[Backlog] = st.sampled_from(("keep", "latest", "drop"))
states = st.sampled_from(["Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Resuming", "Running", ""])
runs = st.lists(
    st.builds(
        WaitingRun,
        id=st.integers(0, 10**6).map(str),
        name=st.just("owl"),
        deployment_id=st.sampled_from([None, "a", "b"]),
        due_at=st.integers(0, 5).map(lambda hours: NOW - timedelta(hours=hours)),
        state_name=states,
        auto_scheduled=st.booleans(),
        starts=st.integers(0, 2),
    ),
    max_size=12,
    unique_by=lambda run: run.id,
)


@given(runs, policies)
def test_only_what_a_schedule_made_and_never_started_and_still_waits_is_dropped(
    there: Sequence[WaitingRun], policy: Backlog
) -> None:
    for run in to_drop(there, policy):
        assert run in there
        assert run.auto_scheduled
        assert run.starts == 0
        assert run.state_name in {"Scheduled", "Late", "AwaitingConcurrencySlot"}


@given(runs)
def test_latest_keeps_exactly_the_newest_of_each_deployment(there: Sequence[WaitingRun]) -> None:
    droppable, dropped = to_drop(there, "drop"), to_drop(there, "latest")
    kept = [run for run in droppable if run not in dropped]
    assert sorted(str(run.deployment_id) for run in kept) == sorted({str(run.deployment_id) for run in droppable})
    for run in kept:
        assert all(run.due_at >= other.due_at for other in droppable if other.deployment_id == run.deployment_id)


@given(runs)
def test_keep_drops_none_and_drop_keeps_none(there: Sequence[WaitingRun]) -> None:
    assert to_drop(there, "keep") == ()
    assert set(to_drop(there, "drop")) == {run for run in there if run.is_droppable}


@given(runs, policies)
def test_the_oldest_goes_first(there: Sequence[WaitingRun], policy: Backlog) -> None:
    due = [run.due_at for run in to_drop(there, policy)]
    assert due == sorted(due)


@pytest.mark.parametrize(
    "of_a_person", [{"auto_scheduled": False}, {"starts": 1}, {"state_name": "AwaitingRetry"}, {"state_name": "Paused"}]
)
def test_never_drops_a_run_that_somebody_made_or_touched(of_a_person: dict[str, Any]) -> None:
    assert to_drop([waiting(**of_a_person)], "drop") == ()


def test_a_newer_run_of_a_person_does_not_stand_for_those_of_the_schedule() -> None:
    older, newest = waiting("a", due_at=ago(hours=3)), waiting("b", due_at=ago(hours=2))
    own = waiting("c", due_at=ago(hours=1), auto_scheduled=False)
    assert to_drop([own, newest, older], "latest") == (older,)

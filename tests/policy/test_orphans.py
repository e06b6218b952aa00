from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.facts import DeploymentFacts
from flows.policy.orphans import orphaned_deployments
from tests.builders import NOW, ago, deployment, fleet
from tests.strategies import deployments_without_pool

MOMENT = timedelta(microseconds=1)


def is_orphaned(**changed: Any) -> bool:
    return bool(orphaned_deployments(fleet(without_pool=(deployment(**changed),)), NOW))


def test_a_deployment_that_is_scheduled_without_a_pool_is_orphaned() -> None:
    assert is_orphaned(active_schedules=1)


def test_a_deployment_that_makes_no_runs_is_not() -> None:
    assert not is_orphaned(active_schedules=0)
    assert not is_orphaned(active_schedules=1, paused=True)


@pytest.mark.parametrize("paused", [True, False])
def test_a_deployment_whose_runs_wait_already_is_orphaned_even_if_it_makes_no_more(paused: bool) -> None:
    assert is_orphaned(active_schedules=0, paused=paused, scheduled_runs=1)


def test_a_deployment_that_somebody_serves_is_not() -> None:
    assert not is_orphaned(last_polled_at=ago(seconds=59))
    assert not is_orphaned(scheduled_runs=5, last_polled_at=NOW)


def test_a_deployment_that_nobody_serves_any_more_is_orphaned() -> None:
    assert is_orphaned(last_polled_at=ago(seconds=60))
    assert not is_orphaned(last_polled_at=ago(seconds=60) + MOMENT)


@given(st.lists(deployments_without_pool, max_size=5))
def test_orphans_come_in_the_order_they_were_read(there: list[DeploymentFacts]) -> None:
    orphans = orphaned_deployments(fleet(without_pool=tuple(there)), NOW)
    assert list(orphans) == [each for each in there if each in orphans]

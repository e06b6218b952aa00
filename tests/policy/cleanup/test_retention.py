from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flows.policy.cleanup.pace import Pace
from flows.policy.cleanup.retention import KEEP, Retention

LENGTHS = [
    "finished_days",
    "late_hours",
    "stuck_minutes",
    "offline_worker_hours",
    "idle_days",
    "grace_days",
]
PACES = list(Pace.model_fields)
NO_LENGTH = [0, -1, "0", float("nan"), float("inf"), "soon", None, 10**9]


def test_the_defaults_are_those_of_the_design() -> None:
    assert Retention().model_dump() == {
        "finished_days": 30,
        "keep_last": 10,
        "keep_latest_failure": True,
        "keep_tags": ["keep"],
        "late_hours": 24,
        "stuck_minutes": 60,
        "offline_worker_hours": 24,
        "idle_days": 30,
        "grace_days": 7,
    }
    assert KEEP == "keep"


def test_a_cleanup_goes_for_an_hour_and_its_plan_is_good_for_a_day() -> None:
    assert (Pace().budget, Pace().longest_wait) == (timedelta(hours=1), timedelta(days=1))


@pytest.mark.parametrize(
    ("model", "field"), [*((Retention, field) for field in LENGTHS), *((Pace, field) for field in PACES)]
)
@pytest.mark.parametrize("wrong", NO_LENGTH)
def test_no_length_of_time_is_zero_negative_or_without_end(model: type[BaseModel], field: str, wrong: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate({field: wrong})


@pytest.mark.parametrize("field", LENGTHS)
def test_a_length_of_time_may_be_text_as_an_automation_gives_it_and_may_be_part_of_a_unit(field: str) -> None:
    assert getattr(Retention.model_validate({field: "3"}), field) == 3
    assert getattr(Retention.model_validate({field: 0.25}), field) == 0.25


def test_each_length_has_the_unit_in_its_name() -> None:
    retention = Retention(
        finished_days=1, late_hours=2, stuck_minutes=3, offline_worker_hours=4, idle_days=5, grace_days=6
    )
    assert retention.finished == timedelta(days=1)
    assert retention.late == timedelta(hours=2)
    assert retention.stuck == timedelta(minutes=3)
    assert retention.offline_worker == timedelta(hours=4)
    assert retention.idle == timedelta(days=5)
    assert retention.grace == timedelta(days=6)
    pace = Pace(budget_minutes=7, plan_hours=8)
    assert (pace.budget, pace.longest_wait) == (timedelta(minutes=7), timedelta(hours=8))


def test_a_keep_of_none_of_the_last_is_possible_and_of_fewer_is_not() -> None:
    assert Retention(keep_last=0).keep_last == 0
    assert Retention.model_validate({"keep_last": "12"}).keep_last == 12
    for wrong in (-1, 0.5, None, "many"):
        with pytest.raises(ValidationError, match="keep_last"):
            Retention.model_validate({"keep_last": wrong})


def test_keep_tags_are_a_list_and_may_be_empty() -> None:
    assert Retention(keep_tags=[]).keep_tags == []
    for wrong in ("keep", [1], None, {"keep": True}):
        with pytest.raises(ValidationError, match="keep_tags"):
            Retention.model_validate({"keep_tags": wrong})


@pytest.mark.parametrize("value", [True, "true", "True", 1])
def test_whether_the_latest_failure_is_kept_may_be_text(value: Any) -> None:
    assert Retention.model_validate({"keep_latest_failure": value}).keep_latest_failure is True
    with pytest.raises(ValidationError):
        Retention.model_validate({"keep_latest_failure": "perhaps"})


@pytest.mark.parametrize("model", [Retention, Pace])
def test_a_misspelt_field_is_refused(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="finished_day"):
        model.model_validate({"finished_day": 30})


@pytest.mark.parametrize("model", [Retention, Pace])
def test_nobody_changes_what_was_asked_for(model: type[BaseModel]) -> None:
    asked = model()
    field = next(iter(model.model_fields))
    with pytest.raises(ValidationError):
        setattr(asked, field, 1)


@pytest.mark.parametrize("model", [Retention, Pace])
def test_every_field_has_a_title_and_a_description_for_the_form(model: type[BaseModel]) -> None:
    for field in model.model_fields.values():
        assert field.title
        assert field.description


@pytest.mark.parametrize(
    ("per_second", "actions", "takes"), [(1000, 0, 0), (1000, 50, 0.05), (10, 50, 5), (0.5, 50, 100)]
)
def test_actions_take_at_least_as_long_as_the_pace_says(per_second: float, actions: int, takes: float) -> None:
    assert Pace(actions_per_second=per_second).due_after(actions) == timedelta(seconds=takes)

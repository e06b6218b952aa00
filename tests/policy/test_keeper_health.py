from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flows.policy.keeper_health import InstalledFacts, KeeperFacts, check_keeper
from flows.policy.server_health import Check
from tests.builders import NOW, ago, pending, run, state, worker

MOMENT = timedelta(microseconds=1)
KEEPER = KeeperFacts(
    pool_name="management",
    pool=state("management"),
    deployments=(InstalledFacts("pool-inventory/management", drift=()),),
    automations=(InstalledFacts("Poolkeeper: dead-man switch", drift=()),),
    active_schedules=1,
    scheduled_runs=5,
    now=NOW,
)


def of_keeper(**changed: Any) -> dict[str, Check]:
    return {check.what: check for check in check_keeper(replace(KEEPER, **changed))}


def unwell(checks: dict[str, Check]) -> set[str]:
    return {what for what, check in checks.items() if not check.is_well}


def test_a_good_keeper_is_all_well() -> None:
    assert unwell(of_keeper()) == set()


def test_a_keeper_without_its_pool_is_not() -> None:
    checks = of_keeper(pool=None)
    assert unwell(checks) == {"work pool management"}
    assert "worker" not in checks


@pytest.mark.parametrize(("of", "found"), [({"is_paused": True}, "paused"), ({"concurrency_limit": 0}, "limit of 0")])
def test_a_pool_that_starts_nothing_is_not_well(of: dict[str, Any], found: str) -> None:
    checks = of_keeper(pool=state("management", of=of))
    assert unwell(checks) == {"work pool management"}
    assert found in checks["work pool management"].found


@pytest.mark.parametrize("limit", [None, 1])
def test_a_pool_with_any_other_limit_is_well(limit: int | None) -> None:
    assert unwell(of_keeper(pool=state("management", of={"concurrency_limit": limit}))) == set()


@pytest.mark.parametrize("workers", [(), (worker(last_heartbeat_at=ago(seconds=90)),)])
def test_a_pool_without_an_online_worker_is_not_well(workers: Any) -> None:
    checks = of_keeper(pool=state("management", workers=workers))
    assert unwell(checks) == {"worker"}
    assert "prefect worker start --pool management" in checks["worker"].todo


def test_a_pool_that_needs_no_worker_is_well_without() -> None:
    checks = of_keeper(pool=state("management", workers=(), of={"type": "prefect:managed"}))
    assert unwell(checks) == set()


@pytest.mark.parametrize(("field", "kind"), [("deployments", "deployment"), ("automations", "automation")])
def test_what_is_missing_or_otherwise_than_written_is_not_well(field: str, kind: str) -> None:
    for drift, found in ((("missing",), "is not there"), (("schedules", "tags"), "schedules, tags")):
        checks = of_keeper(**{field: (InstalledFacts("x", drift=drift), InstalledFacts("y", drift=()))})
        assert unwell(checks) == {f"{kind} x"}
        assert found in checks[f"{kind} x"].found
        assert "poolkeeper deploy" in checks[f"{kind} x"].todo


def test_an_automation_that_is_there_twice_is_not_well() -> None:
    assert unwell(of_keeper(automations=(InstalledFacts("x", drift=(), copies=2),))) == {"automation x"}


def test_what_a_person_switched_off_is_well_and_said() -> None:
    checks = of_keeper(automations=(InstalledFacts("x", drift=(), is_off=True),))
    assert unwell(checks) == set()
    assert "switched off" in checks["automation x"].found


def test_schedules_that_make_no_runs_are_not_well() -> None:
    checks = of_keeper(active_schedules=2, scheduled_runs=0)
    assert unwell(checks) == {"scheduler"}
    assert checks["scheduler"].found == "0 future runs from 2 active schedules"


def test_without_an_active_schedule_the_scheduler_is_not_judged() -> None:
    assert unwell(of_keeper(active_schedules=0, scheduled_runs=0)) == set()


def test_a_run_that_nobody_starts_is_not_well_after_five_minutes() -> None:
    fresh = pending("fresh", since=ago(minutes=5))
    left_behind = pending("left-behind", since=ago(minutes=5) - MOMENT)
    assert unwell(of_keeper(pool=state("management", active=(fresh,)))) == set()
    checks = of_keeper(pool=state("management", active=(fresh, left_behind)))
    assert unwell(checks) == {"own runs"}
    assert checks["own runs"].found == "1 run stranded in Pending: left-behind"


def test_a_run_that_nobody_works_on_any_more_is_not_well_and_is_told_once() -> None:
    left_behind = pending("left-behind", since=ago(hours=1))
    checks = of_keeper(pool=state("management", active=(left_behind,)), lost_runs=("left-behind", "zombie"))
    assert unwell(checks) == {"own runs"}
    told = "1 run stranded in Pending: left-behind; 1 run that nobody works on any more: zombie"
    assert checks["own runs"].found == told


def test_a_run_that_runs_is_well_however_long() -> None:
    assert unwell(of_keeper(pool=state("management", active=(run(since=ago(days=1)),)))) == set()


def test_a_schedule_whose_runs_do_not_start_is_not_well() -> None:
    checks = of_keeper(missed_runs=3)
    assert unwell(checks) == {"schedules"}
    assert checks["schedules"].found == "3 runs should have started and did not"

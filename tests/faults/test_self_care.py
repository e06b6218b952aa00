"""What befalls the keeper itself: the doctor finds it, a deploy or a person mends it, and nothing wedges it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rest import Rest, Row, wait_for
from tests.server.test_commands import poolkeeper
from tests.server.test_stuck_runs import Site
from tests.servers import free_port, prefect_environment, running_server
from tests.workers import working

pytestmark = pytest.mark.long

POOL = "management"
SWEEP = "/deployments/name/pool-auto-pause/management"
SWITCH = "poolkeeper: the sweep has not completed"
LONG_AGO = timedelta(hours=4)


class Own(Site):
    """The keeper's own work pool, with its deployments."""

    def __init__(self, rest: Rest, environment: dict[str, str]) -> None:
        self.rest, self.environment = rest, environment
        self.home, self.pool = Path(environment["PREFECT_HOME"]), POOL
        self.deployment: Row = rest.read(SWEEP)

    def doctor(self) -> tuple[int, str]:
        done = poolkeeper("doctor", self.environment)
        return done.returncode, done.stdout

    def deploy(self) -> None:
        done = poolkeeper("deploy", self.environment)
        assert done.returncode == 0, done.stdout

    def is_well(self) -> bool:
        code, said = self.doctor()
        assert code == 0, said
        return True

    def switch(self) -> Row:
        (found,) = [each for each in self.rest.ask("/automations/filter") if each["name"] == SWITCH]
        return dict(found)

    def end(self, run: str) -> None:
        self.rest.ask(f"/flow_runs/{run}/set_state", state={"type": "CANCELLED"}, force=True)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prefect_environment(tmp_path_factory.mktemp("own"), free_port())


@pytest.fixture(scope="module")
def own(environment: dict[str, str]) -> Iterator[Own]:
    with running_server(environment) as url, Rest(url) as rest:
        assert poolkeeper("deploy", environment).returncode == 0
        rest.worker(POOL)
        yield Own(rest, environment)


def test_an_own_run_that_stays_pending_is_found_and_ended_by_a_person(own: Own) -> None:
    run = own.stuck("PENDING")
    code, said = own.doctor()
    assert code == 1
    assert "✗ own runs: 1 run stranded in Pending" in said
    assert "cancel them in the UI" in said
    own.end(run)
    assert own.is_well()


def test_an_own_run_that_stays_running_is_found_though_another_worker_is_online(own: Own) -> None:
    run = own.stuck("PENDING", "RUNNING", worker="gone")
    own.beat(run, LONG_AGO, LONG_AGO + timedelta(minutes=3))
    code, said = own.doctor()
    assert code == 1, said
    assert "✗ own runs: 1 run that nobody works on any more" in said
    own.end(run)
    assert own.is_well()


def test_an_own_run_that_works_is_not_taken_for_one_that_is_lost(own: Own) -> None:
    run = own.stuck("PENDING", "RUNNING", worker="gone")
    own.beat(run, timedelta(minutes=1), timedelta(minutes=4))
    assert own.is_well()
    own.end(run)


def test_a_worker_that_died_is_found_and_a_new_one_makes_it_well(own: Own) -> None:
    own.age_worker("worker", LONG_AGO)
    code, said = own.doctor()
    assert code == 1
    assert "✗ worker: none of 1 is online" in said
    assert f"prefect worker start --pool {POOL}" in said
    own.rest.worker(POOL)
    assert own.is_well()


@pytest.mark.parametrize(
    ("change", "words"), [({"is_paused": True}, "is paused"), ({"concurrency_limit": 0}, "limit of 0")]
)
def test_a_work_pool_that_a_person_stopped_is_found_and_left_to_them(
    own: Own, change: dict[str, Any], words: str
) -> None:
    own.rest.change_pool(POOL, **change)
    code, said = own.doctor()
    assert (code, words in said) == (1, True)
    own.deploy()
    assert own.doctor()[0] == 1
    own.rest.change_pool(POOL, is_paused=False, concurrency_limit=4)
    assert own.is_well()


def test_an_automation_that_is_gone_is_found_and_comes_back(own: Own) -> None:
    own.rest.delete(f"/automations/{own.switch()['id']}").raise_for_status()
    code, said = own.doctor()
    assert code == 1
    assert f"✗ automation {SWITCH}: is not there" in said
    own.deploy()
    assert own.switch()["enabled"]
    assert own.is_well()


def test_a_work_pool_that_a_person_deleted_is_found_and_comes_back_with_its_deployments(own: Own) -> None:
    own.rest.delete_pool(POOL)
    code, said = own.doctor()
    assert code == 1
    assert f"✗ work pool {POOL}: is not there" in said
    own.deploy()
    own.rest.worker(POOL)
    assert own.is_well()
    assert own.rest.read(SWEEP)["work_pool_name"] == POOL


def test_a_deployment_that_a_person_deleted_is_found_and_the_switch_works_for_the_new_one(own: Own) -> None:
    inventory = own.rest.read("/deployments/name/pool-inventory/management")
    own.rest.delete(f"/deployments/{inventory['id']}").raise_for_status()
    code, said = own.doctor()
    assert code == 1
    assert "✗ deployment pool-inventory/management: is not there" in said
    own.deploy()
    assert own.is_well()
    again = own.rest.read("/deployments/name/pool-inventory/management")
    assert own.switch()["actions"][0]["deployment_id"] == again["id"] != inventory["id"]


def test_a_sweep_that_was_missed_sets_off_the_switch_and_the_late_ones_run_once_a_worker_is_back(own: Own) -> None:
    switch = own.switch()
    body = {key: switch[key] for key in ("name", "description", "enabled", "actions")}
    quick = switch["trigger"] | {"within": 10}
    own.rest.put(f"/automations/{switch['id']}", json=body | {"trigger": quick}).raise_for_status()

    def by_switch() -> list[Row]:
        rows = own.rest.ask("/flow_runs/filter", sort="START_TIME_DESC", limit=50)
        return [row for row in rows if (row["created_by"] or {}).get("type") == "AUTOMATION"]

    try:
        found = wait_for(by_switch, seconds=120, what="the run that the switch starts")
    finally:
        own.rest.put(f"/automations/{switch['id']}", json=body | {"trigger": switch["trigger"]}).raise_for_status()
    late = own.rest.run(own.deployment, "LATE", due=timedelta(minutes=6))
    with working(POOL, own.environment):
        for run in (found[0]["id"], late):
            wait_for(
                lambda run=run: own.rest.read(f"/flow_runs/{run}")["state_type"] == "COMPLETED",
                seconds=240,
                what="the run to complete",
            )

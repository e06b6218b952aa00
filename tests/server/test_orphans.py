"""What lost its work pool: found, cancelled and put back on a real server."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flows.policy.cleanup.detached import OrphanFacts
from flows.policy.cleanup.kinds import Found, Scope
from flows.policy.cleanup.orphans import decide_orphaned_deployments, decide_orphaned_runs
from flows.policy.cleanup.retention import Retention
from flows.policy.plan import Outcome, Result, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from flows.prefect_api import Api, connect
from flows.prefect_api.orphans import OrphanedDeployments, OrphanedRuns, observe_orphans
from flows.prefect_api.work_pools import read_pools
from tests.database import FORMAT, database
from tests.rest import Rest, Row, unique, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.long]
# What was made in this test was made a while ago.
LATER = timedelta(minutes=2)
HOURLY = [{"schedule": {"interval": 3600, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}]


class Site:
    """A work pool that goes and may come again, and the deployments that were in it."""

    def __init__(self, rest: Rest, home: Path) -> None:
        self.rest, self.home = rest, home
        self.pool = unique("lost | 'pool' 🐝")
        self.id = str(rest.pool(self.pool)["id"])
        self.deployments: list[Row] = []

    def deployment(self, pool: str | None = "", **fields: Any) -> Row:
        self.deployments.append(self.rest.deployment(self.pool if pool == "" else pool, **fields))
        return self.deployments[-1]

    def lose(self, queue: str = "") -> None:
        """The pool is deleted, or one of its queues; until Prefect, which writes events late, tells of it."""
        path = f"/work_pools/{quote(self.pool, safe='')}"
        wanted = len(self._told()) + (1 if queue else len(self.rest.ask(f"{path}/queues/filter")))
        self.rest.delete(f"{path}/queues/{quote(queue, safe='')}" if queue else path).raise_for_status()
        wait_for(lambda: len(self._told()) >= wanted, what="the events of the deletion")

    def _told(self) -> list[Row]:
        query = {"event": {"name": ["prefect.work-queue.deleted"]}, "related": {"id": [f"prefect.work-pool.{self.id}"]}}
        return list(self.rest.ask("/events/filter", filter=query)["events"])

    def forget(self) -> None:
        """As a week later: no event of the deployments is kept."""
        with database(self.home) as connection:
            for deployment in self.deployments:
                sql = "DELETE FROM events WHERE resource_id = ?"
                assert connection.execute(sql, (f"prefect.deployment.{deployment['id']}",)).rowcount > 0

    def set(self, table: str, id_: str, **columns: Any) -> None:
        with database(self.home) as connection:
            sql = f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?"  # noqa: S608
            assert connection.execute(sql, (*columns.values(), id_)).rowcount == 1

    def polled(self, deployment: Row, at: datetime) -> None:
        self.set("deployment", deployment["id"], last_polled=at.strftime(FORMAT))

    def worked(self, deployment: Row) -> str:
        """A run of the deployment that a worker of the pool started."""
        run = self.rest.run(deployment)
        labels = {"prefect.work-pool.name": self.pool, "prefect.worker.type": "process"}
        self.rest.patch(f"/flow_runs/{run}/labels", json=labels).raise_for_status()
        for state in ("PENDING", "RUNNING", "COMPLETED"):
            self.rest.ask(f"/flow_runs/{run}/set_state", state={"type": state}, force=True)
        return run

    def late(self, deployment: Row, hours: float = 1, **columns: Any) -> str:
        run = self.rest.run(deployment, "LATE", due=timedelta(hours=hours))
        if columns:
            self.set("flow_run", run, **columns)
        return run

    def now(self, deployment: Row) -> Row:
        return dict(self.rest.read(f"/deployments/{deployment['id']}"))

    def place(self, deployment: Row) -> tuple[str | None, str | None]:
        now = self.now(deployment)
        return now["work_pool_name"], now["work_queue_name"]

    def state(self, run: str) -> str:
        return str(self.rest.read(f"/flow_runs/{run}")["state_name"])


class Cleanup:
    """One look at a site; what other tests left is none of its business."""

    def __init__(self, api: Api, site: Site, scope: Scope, facts: OrphanFacts) -> None:
        self.api, self.site, self.scope, self.facts = api, site, scope, facts

    def _mine(self, found: Found, ids: set[str]) -> list[Verdict]:
        return [verdict for verdict in found.verdicts if verdict.target.id in ids]

    @property
    def deployments(self) -> list[Verdict]:
        found = decide_orphaned_deployments(self.facts, self.scope)
        return self._mine(found, {each["id"] for each in self.site.deployments})

    @property
    def runs(self) -> dict[str, Verdict]:
        mine = {each["id"] for each in self.site.deployments}
        ids = {run.target.id for run in self.facts.runs if run.deployment_id in mine}
        return {each.target.id: each for each in self._mine(decide_orphaned_runs(self.facts, self.scope), ids)}

    @property
    def cancelled(self) -> set[str]:
        return {each for each, verdict in self.runs.items() if verdict.verb is Verb.CANCEL}

    @property
    def reason(self) -> str:
        """Why the only deployment that there is a verdict on is left alone."""
        (verdict,) = self.deployments
        assert verdict.verb is Verb.LEAVE
        return verdict.reason

    async def put_back(self) -> list[Outcome]:
        wanted = [verdict for verdict in self.deployments if verdict.verb is Verb.CHANGE]
        assert wanted, self.deployments
        return list(await OrphanedDeployments(self.api, self.scope, self.facts).clear(wanted))

    async def cancel(self) -> list[Outcome]:
        wanted = [verdict for verdict in self.runs.values() if verdict.verb is Verb.CANCEL]
        assert wanted, self.runs
        return list(await OrphanedRuns(self.api, self.scope, self.facts).clear(wanted))


async def look(
    api: Api,
    site: Site,
    asked: str = "*",
    exclude: tuple[str, ...] = (),
    *,
    later: timedelta = LATER,
    **protected: frozenset[str],
) -> Cleanup:
    there = await read_pools(api)
    selection = select_pools([asked], exclude, [pool.name for pool in there])
    chosen = tuple(pool for pool in there if pool.name in selection.names)
    scope = Scope(selection, chosen, Retention(), Protection(**protected), datetime.now(UTC) + later)
    return Cleanup(api, site, scope, await observe_orphans(api, scope))


@pytest.fixture
def site(rest: Rest, environment: dict[str, str]) -> Iterator[Site]:
    site = Site(rest, Path(environment["PREFECT_HOME"]))
    yield site
    for deployment in site.deployments:
        rest.delete(f"/deployments/{deployment['id']}")
    rest.delete(f"/work_pools/{quote(site.pool, safe='')}")


async def test_a_deployment_goes_back_to_its_work_pool_once_that_is_there_again(site: Site) -> None:
    usual, named = site.deployment(), site.deployment(work_queue_name="a | b")
    unlucky = site.deployment(work_queue_name="gone for good")
    site.lose()
    site.rest.pool(site.pool)
    site.rest.ask(f"/work_pools/{quote(site.pool, safe='')}/queues", name="a | b")
    async with connect() as api:
        found = await look(api, site)
        assert {verdict.verb for verdict in found.deployments} == {Verb.CHANGE}
        assert all("is there again" in verdict.reason for verdict in found.deployments)
        assert [outcome.result for outcome in await found.put_back()] == [Result.DONE] * 3
        again = await look(api, site)
        assert again.deployments == []
    assert site.place(usual) == (site.pool, "default")
    assert site.place(named) == (site.pool, "a | b")
    assert site.place(unlucky) == (site.pool, "default")
    queues = site.rest.ask(f"/work_pools/{quote(site.pool, safe='')}/queues/filter")
    assert {queue["name"] for queue in queues} == {"default", "a | b"}


async def test_a_deployment_whose_queue_alone_was_deleted_goes_to_the_default_queue(site: Site) -> None:
    deployment = site.deployment(work_queue_name="fast")
    site.lose(queue="fast")
    assert site.place(deployment) == (None, "fast")
    async with connect() as api:
        found = await look(api, site)
        assert [outcome.result for outcome in await found.put_back()] == [Result.DONE]
    assert site.place(deployment) == (site.pool, "default")


async def test_a_deployment_whose_work_pool_is_gone_is_reported_with_what_to_do(site: Site) -> None:
    site.deployment()
    site.lose()
    async with connect() as api:
        assert (await look(api, site)).reason == (
            f"its work pool '{site.pool}' is gone: create that again, move the deployment to another, or delete it"
        )


async def test_a_deployment_stays_where_the_work_pool_is_of_another_type_or_may_not_be_touched(site: Site) -> None:
    site.deployment()
    site.lose()
    site.rest.pool(site.pool, type="docker")
    async with connect() as api:
        assert "was of type process, now one of type docker" in (await look(api, site)).reason
        assert "not one that may be touched" in (await look(api, site, exclude=(site.pool,))).reason
        own = await look(api, site, deployment_ids=frozenset({site.deployments[0]["id"]}))
        assert "is Poolkeeper's own" in own.reason
        assert "not one that may be touched" in (await look(api, site, pools=frozenset({site.pool}))).reason


async def test_nothing_is_looked_at_where_only_some_work_pools_are_asked_for(site: Site) -> None:
    site.late(site.deployment())
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        found = await look(api, site, "lost*")
        assert api.requests <= 2
        assert found.facts == OrphanFacts()


async def test_a_deployment_that_a_process_serves_is_no_orphan_not_even_while_that_is_down(site: Site) -> None:
    served = site.deployment(None, schedules=HOURLY)
    runs = [site.late(served), site.rest.run(served)]
    site.rest.ask("/deployments/get_scheduled_flow_runs", deployment_ids=[served["id"]])
    wait_for(lambda: site.now(served)["last_polled"], what="the poll")
    async with connect() as api:
        up = await look(api, site, later=timedelta(0))
        assert (up.deployments, up.runs) == ([], {})
        assert decide_orphaned_deployments(up.facts, up.scope).left["served by a process"] >= 1
        down = await look(api, site)
        assert "nothing tells that it ever had a work pool" in down.reason
        assert down.runs == {}
    # What is due becomes late by itself; neither is cancelled.
    assert {site.state(run) for run in runs} <= {"Late", "Scheduled"}


async def test_a_deployment_that_was_taken_out_of_its_work_pool_is_no_orphan(site: Site) -> None:
    deployment = site.deployment(work_queue_name="fast")
    run = site.late(deployment)
    # As `flow.serve()` does it, too.
    fields = {"work_pool_name": None, "work_queue_name": None}
    site.rest.patch(f"/deployments/{deployment['id']}", json=fields).raise_for_status()
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        found = await look(api, site)
        assert "somebody took it out" in found.reason
        assert found.cancelled == set()
    assert site.state(run) == "Late"


async def test_a_deployment_that_is_served_since_its_work_pool_went_is_no_orphan(site: Site) -> None:
    deployment = site.deployment(work_queue_name="fast")
    run = site.late(deployment)
    site.polled(deployment, datetime.now(UTC))
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        assert (await look(api, site)).cancelled == {run}
        site.polled(deployment, datetime.now(UTC) + timedelta(seconds=30))
        assert "a process has served it since" in (await look(api, site)).reason


async def test_what_was_changed_a_moment_ago_may_be_served_in_a_moment(site: Site) -> None:
    deployment = site.deployment()
    site.late(deployment)
    site.lose()
    site.rest.patch(f"/deployments/{deployment['id']}", json={"description": "other"}).raise_for_status()
    async with connect() as api:
        found = await look(api, site, later=timedelta(0))
        assert "changed just now" in found.reason
        assert found.runs == {}


async def test_what_lost_its_work_pool_a_moment_ago_is_told_as_soon_as_its_events_are(site: Site) -> None:
    late = site.late(site.deployment())
    site.lose()
    async with connect() as api:
        found = await look(api, site, later=timedelta(0))
        assert found.cancelled == {late}


async def test_once_the_events_are_gone_the_last_run_tells_where_it_was(site: Site) -> None:
    deployment = site.deployment()
    site.worked(deployment)
    late = site.late(deployment)
    site.polled(deployment, datetime.now(UTC))
    site.lose()
    site.rest.pool(site.pool)
    site.forget()
    async with connect() as api:
        found = await look(api, site)
        assert found.cancelled == {late}
        assert [outcome.result for outcome in await found.put_back()] == [Result.DONE]
    assert site.place(deployment) == (site.pool, "default")


@pytest.mark.parametrize("change", ["description", "served"])
async def test_the_last_run_tells_nothing_for_certain_once_the_deployment_was_changed(site: Site, change: str) -> None:
    deployment = site.deployment()
    site.worked(deployment)
    if change == "served":
        site.rest.run(deployment, "RUNNING", "COMPLETED")
    site.rest.patch(f"/deployments/{deployment['id']}", json={"description": "new"}).raise_for_status()
    late = site.late(deployment)
    site.lose()
    site.rest.pool(site.pool)
    site.forget()
    async with connect() as api:
        found = await look(api, site)
        words = "has been changed since" if change == "description" else "nothing tells"
        assert words in found.reason
        assert found.cancelled == set()
    assert site.state(late) == "Late"


async def test_a_queues_name_that_stayed_behind_tells_of_a_loss_where_nobody_ever_asked_for_runs(site: Site) -> None:
    deployment = site.deployment(work_queue_name="fast")
    late = site.late(deployment)
    site.lose()
    site.forget()
    async with connect() as api:
        found = await look(api, site)
        assert "which work pool it had is not known" in found.reason
        assert found.cancelled == {late}
        site.polled(deployment, datetime.now(UTC))
        doubtful = await look(api, site)
        assert "may have served it since" in doubtful.reason
        assert doubtful.cancelled == set()


async def test_every_scheduled_run_of_a_deployment_without_work_pool_is_cancelled_but_for_what_is_kept(
    site: Site,
) -> None:
    deployment = site.deployment()
    late, by_hand = site.late(deployment, auto_scheduled=True), site.late(deployment)
    coming = site.rest.run(deployment, due=-timedelta(hours=3))
    waiting = site.rest.run(deployment)
    slot = {"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"}
    site.rest.ask(f"/flow_runs/{waiting}/set_state", state=slot, force=True)
    tagged = site.late(deployment, tags='["keep"]')
    retried = site.late(deployment, run_count=1, state_name="AwaitingRetry")
    long_retried = site.late(deployment, 30, run_count=1, state_name="AwaitingRetry")
    protected = site.late(deployment)
    running = site.rest.run(deployment, "RUNNING")
    site.lose()
    async with connect() as api:
        found = await look(api, site, run_ids=frozenset({protected}))
        assert found.cancelled == {late, by_hand, coming, waiting, long_retried}
        assert set(found.runs) - found.cancelled == {tagged, retried, protected}
        assert {outcome.result for outcome in await found.cancel()} == {Result.DONE}
        assert (await look(api, site, run_ids=frozenset({protected}))).cancelled == set()
    assert {site.state(run) for run in found.cancelled} == {"Cancelled"}
    message = site.rest.read(f"/flow_runs/{late}")["state"]["message"]
    assert message.startswith("Cancelled by Poolkeeper: ")
    assert [site.state(run) for run in (tagged, retried, protected)] == ["Late", "AwaitingRetry", "Late"]
    assert site.state(running) == "Running"


async def test_runs_to_come_are_left_where_putting_their_deployment_back_makes_them_anew(site: Site) -> None:
    deployment = site.deployment()
    coming = site.rest.run(deployment, due=-timedelta(hours=3))
    by_hand = site.rest.run(deployment, due=-timedelta(hours=3))
    site.set("flow_run", coming, auto_scheduled=True)
    late = site.late(deployment, auto_scheduled=True)
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        found = await look(api, site)
        assert found.cancelled == {late, by_hand}
        assert "made anew" in found.runs[coming].reason
        await found.put_back()
    assert site.rest.get(f"/flow_runs/{coming}").status_code == 404


async def test_a_run_that_lost_its_queue_stays_lost_when_its_deployment_goes_back(site: Site) -> None:
    named, usual = site.deployment(work_queue_name="fast"), site.deployment()
    lost, unclear = site.late(named), site.late(usual)
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        outcomes = await (await look(api, site)).put_back()
        assert [outcome.result for outcome in outcomes] == [Result.DONE] * 2
        healthy = site.late(named)
        assert site.rest.read(f"/flow_runs/{lost}")["work_queue_id"] is None
        found = await look(api, site)
        assert found.cancelled == {lost}
        assert "a process may have been meant to start it" in found.runs[unclear].reason
        assert healthy not in found.runs
        assert [outcome.result for outcome in await found.cancel()] == [Result.DONE]


async def test_a_run_of_a_deleted_deployment_is_cancelled_also_on_a_work_pools_queue(site: Site) -> None:
    deployment = site.deployment()
    run = site.rest.run(deployment)
    # Prefect deletes the other scheduled runs with their deployment.
    slot = {"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"}
    site.rest.ask(f"/flow_runs/{run}/set_state", state=slot, force=True)
    site.rest.delete(f"/deployments/{deployment['id']}").raise_for_status()
    async with connect() as api:
        assert "is not selected" in (await look(api, site, exclude=(site.pool,))).runs[run].reason
        found = await look(api, site)
        assert found.cancelled == {run}
        assert found.runs[run].target.pool == site.pool
        assert [outcome.result for outcome in await found.cancel()] == [Result.DONE]
    assert site.state(run) == "Cancelled"


async def test_a_run_without_deployment_is_a_persons_own(site: Site) -> None:
    flow = site.rest.ask("/flows/", name=unique("flow"))
    run = site.rest.ask("/flow_runs/", flow_id=flow["id"], state={"type": "SCHEDULED"})["id"]
    async with connect() as api:
        assert run not in {each.target.id for each in (await look(api, site)).facts.runs}


Change = Callable[[Site, Row, str], object]


def delete_run(site: Site, _: Row, run: str) -> object:
    return site.rest.delete(f"/flow_runs/{run}").raise_for_status()


def start_run(site: Site, _: Row, run: str) -> object:
    return site.rest.ask(f"/flow_runs/{run}/set_state", state={"type": "RUNNING"}, force=True)


def poll(site: Site, deployment: Row, _: str) -> object:
    return site.polled(deployment, datetime.now(UTC))


def describe(site: Site, deployment: Row, _: str) -> object:
    return site.rest.patch(f"/deployments/{deployment['id']}", json={"description": "new"}).raise_for_status()


def put_back(site: Site, deployment: Row, _: str) -> object:
    fields = {"work_pool_name": site.pool}
    return site.rest.patch(f"/deployments/{deployment['id']}", json=fields).raise_for_status()


def tag(site: Site, _: Row, run: str) -> object:
    return site.rest.patch(f"/flow_runs/{run}", json={"tags": ["keep"]}).raise_for_status()


def delete_deployment(site: Site, deployment: Row, _: str) -> object:
    return site.rest.delete(f"/deployments/{deployment['id']}").raise_for_status()


def delete_pool(site: Site, _: Row, __: str) -> object:
    return site.rest.delete_pool(site.pool)


def other_type(site: Site, _: Row, __: str) -> object:
    site.rest.delete_pool(site.pool)
    return site.rest.pool(site.pool, type="docker")


@pytest.mark.parametrize(
    ("change", "result", "detail"),
    [
        (delete_run, Result.DONE, "already gone"),
        (delete_deployment, Result.DONE, "already gone"),
        (start_run, Result.SKIPPED, "it changed meanwhile, now Running"),
        (tag, Result.SKIPPED, "a tag of it protects it"),
        (poll, Result.SKIPPED, "its deployment: a process serves it meanwhile"),
        (describe, Result.SKIPPED, "its deployment: it changed meanwhile"),
        (put_back, Result.SKIPPED, "its deployment: it is in work pool"),
    ],
)
async def test_a_run_about_which_something_changed_meanwhile_is_not_cancelled(
    site: Site, change: Change, result: Result, detail: str
) -> None:
    deployment = site.deployment()
    run = site.late(deployment)
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        found = await look(api, site)
        change(site, deployment, run)
        (outcome,) = await found.cancel()
    assert (outcome.result, outcome.detail.startswith(detail)) == (result, True), outcome.detail
    there = site.rest.get(f"/flow_runs/{run}")
    assert there.status_code == 404 or there.json()["state_name"] != "Cancelled"


@pytest.mark.parametrize(
    ("change", "result", "detail"),
    [
        (delete_deployment, Result.DONE, "already gone"),
        (poll, Result.SKIPPED, "a process serves it meanwhile"),
        (describe, Result.SKIPPED, "it changed meanwhile"),
        (put_back, Result.SKIPPED, "it is in work pool"),
        (delete_pool, Result.SKIPPED, "its work pool is gone"),
        (other_type, Result.SKIPPED, "its work pool is docker"),
    ],
)
async def test_a_deployment_about_which_something_changed_meanwhile_is_not_put_back(
    site: Site, change: Change, result: Result, detail: str
) -> None:
    deployment = site.deployment()
    site.lose()
    site.rest.pool(site.pool)
    async with connect() as api:
        found = await look(api, site)
        change(site, deployment, "")
        (outcome,) = await found.put_back()
    assert (outcome.result, outcome.detail.startswith(detail)) == (result, True), outcome.detail

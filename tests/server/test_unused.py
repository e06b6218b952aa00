"""What nothing uses, on a real server: workers, work queues and work pools, found, archived and deleted."""

import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flows.policy.archive import Archive
from flows.policy.cleanup.idle_pools import OPENING, decide_idle_pools, read_mark, with_mark
from flows.policy.cleanup.kinds import Found, Scope
from flows.policy.cleanup.retention import Retention
from flows.policy.cleanup.unused import decide_empty_queues, decide_offline_workers
from flows.policy.lease import with_note
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from flows.prefect_api import Api, ApiProblem, connect
from flows.prefect_api.archive import archive_pool, archive_queue, read_archives
from flows.prefect_api.restore import restore
from flows.prefect_api.unused import (
    Archiver,
    EmptyQueues,
    IdlePools,
    OfflineWorkers,
    observe_idle_pools,
    observe_queues,
    observe_workers,
)
from flows.prefect_api.work_pools import read_pools
from tests.database import FORMAT, copied, database
from tests.rest import Rest, Row, unique, wait_for

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)
STRANGE = "a | `b` 'c' \"d\" 🐝 ?x#y"
UNFINISHED = ("LATE", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
Between = Callable[[], Any]


class Site:
    """A work pool with a strange name that was made a year ago, and what is in it."""

    def __init__(self, rest: Rest, home: Path) -> None:
        self.rest, self.home = rest, home
        self.pool = unique("unused | 'pool' 🐝")
        self.id = str(rest.pool(self.pool)["id"])
        self.path = f"/work_pools/{quote(self.pool, safe='')}"
        self.put("work_pool", self.id, created=365 * DAY)

    def put(self, table: str, id_: str, **columns: Any) -> None:
        """Lengths of time are how long ago something was."""
        now = datetime.now(UTC)
        values = [
            (now - value).strftime(FORMAT) if isinstance(value, timedelta) else value for value in columns.values()
        ]
        with database(self.home) as connection:
            sql = f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?"  # noqa: S608
            assert connection.execute(sql, (*values, id_)).rowcount == 1

    def copies(self, table: str, id_: str, names: list[str]) -> None:
        """So many more rows like this one, each with a name of its own."""
        copied(self.home, table, id_, [{"name": name} for name in names])

    def worker(self, name: str = "worker", seen: timedelta = 2 * DAY, beats: float = 30) -> str:
        """A worker that was seen so long ago."""
        body = {"name": name, "heartbeat_interval_seconds": beats}
        self.rest.post(f"{self.path}/workers/heartbeat", json=body).raise_for_status()
        id_ = next(str(row["id"]) for row in self.worker_rows if row["name"] == name)
        self.put("worker", id_, last_heartbeat_time=seen)
        return id_

    @property
    def worker_rows(self) -> list[Row]:
        return self.rest.everything(f"{self.path}/workers/filter")

    @property
    def workers(self) -> set[str]:
        return {row["name"] for row in self.worker_rows}

    def queue(self, name: str, **fields: Any) -> str:
        return str(self.rest.ask(f"{self.path}/queues", name=name, **fields)["id"])

    @property
    def queue_rows(self) -> list[Row]:
        return self.rest.everything(f"{self.path}/queues/filter")

    @property
    def queues(self) -> set[str]:
        return {row["name"] for row in self.queue_rows}

    def poll(self, *names: str) -> None:
        """As a worker does it that was told these queues' names, or none."""
        wanted = set(names) or self.queues
        body: dict[str, Any] = {"work_queue_names": list(names)} if names else {}
        self.rest.ask(f"{self.path}/get_scheduled_flow_runs", **body)
        wait_for(lambda: wanted <= {row["name"] for row in self.queue_rows if row["last_polled"]}, what="the poll")

    def run(self, queue: str | None = None, *states: str) -> str:
        """A run of a deployment that has gone since. The run stays in the queue."""
        deployment = self.rest.deployment(self.pool, **({"work_queue_name": queue} if queue else {}))
        run = self.rest.run(deployment, *states)
        self.rest.delete(f"/deployments/{deployment['id']}").raise_for_status()
        # Prefect deletes with a deployment those of its runs that are scheduled.
        return run if self.rest.get(f"/flow_runs/{run}").is_success else ""

    @property
    def row(self) -> Row | None:
        answer = self.rest.get(self.path)
        return dict(answer.json()) if answer.is_success else None

    @property
    def description(self) -> str | None:
        row = self.row
        assert row is not None
        text: str | None = row["description"]
        return text

    def describe(self, text: str | None) -> None:
        self.rest.change_pool(self.pool, description=text)

    def marked(self, own: str | None = "mine", ago: timedelta = 100 * DAY) -> None:
        """As if the pool had been marked so long ago."""
        at = (datetime.now(UTC) - ago).replace(microsecond=0)
        self.describe(with_mark(own, Scope(select_pools([], [], []), (), Retention(), Protection(), at)))

    async def scope(self, api: Api, asked: str = "", **changed: Any) -> Scope:
        there = await read_pools(api)
        selection = select_pools([asked or self.pool], [], [pool.name for pool in there])
        chosen = tuple(pool for pool in there if pool.name in selection.names)
        usual = {"retention": Retention(), "protection": Protection(), **changed}
        return Scope(selection, chosen, now=await api.server_time(), **usual)


@pytest.fixture
def site(rest: Rest, environment: dict[str, str]) -> Iterator[Site]:
    site = Site(rest, Path(environment["PREFECT_HOME"]))
    yield site
    rest.delete(site.path)


def actions(found: Found) -> list[Verdict]:
    return [verdict for verdict in found.verdicts if verdict.verb is not Verb.LEAVE]


async def nothing_archived(*_: Any, **__: Any) -> str:
    raise ApiProblem("The archive cannot be written.")


def meanwhile(archive: Archiver, happens: Between) -> Archiver:
    """An archive during which something happens."""

    async def archived(*arguments: Any, **named: Any) -> str:
        name = await archive(*arguments, **named)
        happens()
        return name

    return archived


async def clear_workers(site: Site, between: Between = lambda: None, **changed: Any) -> list[Outcome]:
    async with connect() as api:
        scope = await site.scope(api, **changed)
        facts = await observe_workers(api, scope)
        clearing = OfflineWorkers(api, scope, facts)
        verdicts = actions(decide_offline_workers(facts, scope))
        between()
        return [outcome for verdict in verdicts for outcome in await clearing.clear([verdict])]


async def clear_queues(
    site: Site, between: Between = lambda: None, archive: Archiver = archive_queue, **changed: Any
) -> list[Outcome]:
    async with connect() as api:
        scope = await site.scope(api, **changed)
        facts = await observe_queues(api, scope)
        clearing = EmptyQueues(api, scope, facts, archive)
        verdicts = actions(decide_empty_queues(facts, scope))
        between()
        return [outcome for verdict in verdicts for outcome in await clearing.clear([verdict])]


async def clear_pools(
    site: Site, between: Between = lambda: None, archive: Archiver = archive_pool, **changed: Any
) -> list[Outcome]:
    async with connect() as api:
        scope = await site.scope(api, **changed)
        facts = await observe_idle_pools(api, scope)
        clearing = IdlePools(api, scope, facts, archive)
        verdicts = actions(decide_idle_pools(facts, scope))
        between()
        return [outcome for verdict in verdicts for outcome in await clearing.clear([verdict])]


def told(outcomes: list[Outcome]) -> list[tuple[str, Result]]:
    return [(outcome.verdict.target.name.removeprefix("unused"), outcome.result) for outcome in outcomes]


def results(outcomes: list[Outcome]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


async def archive_of(outcome: Outcome) -> Archive:
    """What was kept, by the name that the outcome tells."""
    name = outcome.detail.removeprefix("archived as ")
    async with connect() as api:
        return (await read_archives(api))[name]


# Workers


@pytest.mark.parametrize("name", ["worker", STRANGE, "a%b", "a%2Fb", "ä" * 200, "-", ".", "..."])
async def test_deletes_the_row_of_a_worker_that_has_gone_whatever_its_name(site: Site, name: str) -> None:
    site.worker(name)
    site.worker("here", seen=timedelta(0))
    (outcome,) = await clear_workers(site)
    assert (outcome.verdict.target.name, outcome.result) == (f"{site.pool}/{name}", Result.DONE)
    assert site.workers == {"here"}
    assert site.row is not None


async def test_a_worker_that_beats_again_before_its_turn_stays(site: Site) -> None:
    site.worker()
    outcomes = await clear_workers(site, lambda: site.rest.worker(site.pool))
    assert results(outcomes) == [Result.SKIPPED]
    assert "sign of life" in outcomes[0].detail
    assert site.workers == {"worker"}


async def test_a_worker_of_the_same_name_that_came_instead_is_another_one(site: Site) -> None:
    site.worker()

    def replaced() -> None:
        site.rest.delete(f"{site.path}/workers/worker").raise_for_status()
        site.worker()

    (outcome,) = await clear_workers(site, replaced)
    assert (outcome.result, outcome.detail) == (Result.DONE, ALREADY_GONE)
    assert site.workers == {"worker"}


@pytest.mark.parametrize("what", ["worker", "pool"])
async def test_a_worker_that_is_gone_before_its_turn_is_done(site: Site, what: str) -> None:
    site.worker()
    path = site.path if what == "pool" else f"{site.path}/workers/worker"
    (outcome,) = await clear_workers(site, lambda: site.rest.delete(path).raise_for_status())
    assert (outcome.result, outcome.detail) == (Result.DONE, ALREADY_GONE)


async def test_all_workers_are_looked_at_however_many_there_are(site: Site) -> None:
    site.copies("worker", site.worker(), [f"copy {number}" for number in range(450)])
    async with connect() as api:
        scope = await site.scope(api)
        assert len(actions(decide_offline_workers(await observe_workers(api, scope), scope))) == 451


async def test_no_worker_queue_or_pool_is_looked_at_that_belongs_to_the_keeper(site: Site) -> None:
    site.worker()
    site.queue("fast")
    site.marked()
    own = Protection(pools=frozenset({site.pool}))
    async with connect() as api:
        scope = await site.scope(api, protection=own)
        assert await observe_workers(api, scope) == ()
        assert await observe_queues(api, scope) == ()
        assert await observe_idle_pools(api, scope) == ()


async def test_nothing_is_asked_where_nothing_is_selected(site: Site) -> None:
    async with connect() as api:
        scope = Scope(select_pools([], [], [site.pool]), (), Retention(), Protection(), await api.server_time())
        before = api.requests
        for observe in (observe_workers, observe_queues, observe_idle_pools):
            assert await observe(api, scope) == ()
        assert api.requests == before


async def test_a_worker_named_like_the_parent_folder_does_not_take_its_pool_with_it(site: Site) -> None:
    site.worker("..")
    assert results(await clear_workers(site)) == [Result.DONE]
    assert site.workers == set()
    assert site.row is not None


async def test_a_worker_that_cannot_be_deleted_by_its_name_is_not_said_to_be_gone(site: Site) -> None:
    site.worker("a/b")
    (outcome,) = await clear_workers(site)
    assert outcome.result is Result.FAILED
    assert "cannot be deleted" in outcome.detail
    assert site.workers == {"a/b"}


@pytest.mark.parametrize(("beats", "hours"), [(3600, 1), (30, 0.01)])
async def test_a_worker_that_prefect_calls_online_is_never_deleted(site: Site, beats: float, hours: float) -> None:
    seen = timedelta(hours=hours * 1.5)
    site.worker(seen=seen, beats=beats)
    # Prefect calls a worker offline after three missed heartbeats.
    assert seen.total_seconds() < 3 * beats
    assert [row["status"] for row in site.worker_rows] == ["ONLINE"]
    await clear_workers(site, retention=Retention(offline_worker_hours=hours))
    assert site.workers == {"worker"}


# Work queues


async def test_deletes_an_empty_queue_and_keeps_what_it_takes_to_make_it_again(site: Site) -> None:
    id_ = site.queue(STRANGE, description="theirs", concurrency_limit=3, is_paused=True)
    (outcome,) = await clear_queues(site)
    assert (outcome.verdict.target.name, outcome.result) == (f"{site.pool}/{STRANGE}", Result.DONE)
    assert site.queues == {"default"}
    archive = await archive_of(outcome)
    assert (archive.pool, archive.pool_fields, archive.reason) == (site.pool, None, outcome.verdict.reason)
    (queue,) = archive.queues
    assert (queue.id, queue.name, queue.description) == (id_, STRANGE, "theirs")
    async with connect() as api:
        await restore(api, archive)
    again = next(row for row in site.queue_rows if row["name"] == STRANGE)
    assert (again["description"], again["concurrency_limit"], again["is_paused"]) == ("theirs", 3, True)


async def test_the_default_queue_stays_also_when_it_has_another_name(site: Site) -> None:
    site.rest.patch(f"{site.path}/queues/default", json={"name": "renamed"}).raise_for_status()
    site.queue("default")
    assert told(await clear_queues(site)) == [(f"{site.pool}/default".removeprefix("unused"), Result.DONE)]
    assert site.queues == {"renamed"}


async def test_leaves_a_queue_alone_that_has_a_deployment(site: Site) -> None:
    site.queue("empty")
    site.rest.deployment(site.pool, work_queue_name="used")
    assert results(await clear_queues(site)) == [Result.DONE]
    assert site.queues == {"default", "used"}


@pytest.mark.parametrize("state", UNFINISHED)
async def test_leaves_a_queue_alone_that_has_a_run_that_has_not_ended(site: Site, state: str) -> None:
    deployment = site.rest.deployment(site.pool, work_queue_name="busy")
    run = site.rest.run(deployment, *(["RUNNING"] if state == "CANCELLING" else []), state)
    moved = {"work_pool_name": site.pool, "work_queue_name": "default"}
    site.rest.patch(f"/deployments/{deployment['id']}", json=moved).raise_for_status()
    there = site.rest.read(f"/flow_runs/{run}")
    assert (there["work_queue_name"], there["state_name"].upper()) == ("busy", state)
    assert await clear_queues(site) == []
    assert "busy" in site.queues


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
async def test_runs_that_ended_long_ago_do_not_keep_a_queue(site: Site, state: str) -> None:
    site.put("flow_run", site.run("past", "RUNNING", state), end_time=31 * DAY)
    assert results(await clear_queues(site)) == [Result.DONE]
    assert site.queues == {"default"}


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
async def test_runs_that_ended_within_the_idle_time_keep_a_queue(site: Site, state: str) -> None:
    site.put("flow_run", site.run("past", "RUNNING", state), end_time=29 * DAY)
    assert results(await clear_queues(site)) == []
    assert site.queues == {"default", "past"}


async def test_a_queue_that_a_deployment_joins_before_its_turn_stays(site: Site) -> None:
    site.queue("fast")
    outcomes = await clear_queues(site, lambda: site.rest.deployment(site.pool, work_queue_name="fast"))
    assert results(outcomes) == [Result.SKIPPED]
    assert outcomes[0].detail
    assert "fast" in site.queues


async def test_a_queue_that_a_worker_asks_by_name_before_its_turn_stays(site: Site) -> None:
    site.queue("fast")
    assert results(await clear_queues(site, lambda: site.poll("fast"))) == [Result.SKIPPED]
    assert "fast" in site.queues


async def test_a_queue_that_was_renamed_before_its_turn_stays(site: Site) -> None:
    site.queue("fast")
    renamed = {"name": "slow"}
    outcomes = await clear_queues(site, lambda: site.rest.patch(f"{site.path}/queues/fast", json=renamed))
    assert results(outcomes) == [Result.SKIPPED]
    assert site.queues == {"default", "slow"}


async def test_a_queue_of_the_same_name_that_came_instead_is_another_one(site: Site) -> None:
    site.queue("fast")

    def replaced() -> None:
        site.rest.delete(f"{site.path}/queues/fast").raise_for_status()
        site.queue("fast")

    (outcome,) = await clear_queues(site, replaced)
    assert (outcome.result, outcome.detail) == (Result.DONE, ALREADY_GONE)
    assert "fast" in site.queues


@pytest.mark.parametrize("what", ["queue", "pool"])
async def test_a_queue_that_is_gone_before_its_turn_is_done(site: Site, what: str) -> None:
    site.queue("fast")
    path = site.path if what == "pool" else f"{site.path}/queues/fast"
    (outcome,) = await clear_queues(site, lambda: site.rest.delete(path).raise_for_status())
    assert (outcome.result, outcome.detail) == (Result.DONE, ALREADY_GONE)


async def test_a_queue_that_cannot_be_archived_stays(site: Site) -> None:
    site.queue("fast")
    with pytest.raises(ApiProblem, match="cannot be written"):
        await clear_queues(site, archive=nothing_archived)
    assert site.queues == {"default", "fast"}


async def test_a_queue_that_a_deployment_joins_while_it_is_archived_stays(site: Site) -> None:
    site.queue("fast")
    joined = meanwhile(archive_queue, lambda: site.rest.deployment(site.pool, work_queue_name="fast"))
    await clear_queues(site, archive=joined)
    assert "fast" in site.queues


async def test_what_a_worker_asks_by_name_is_left_and_what_nobody_asks_is_not(site: Site) -> None:
    site.queue("asked")
    site.queue("forgotten")
    site.poll("asked")
    assert results(await clear_queues(site)) == [Result.DONE]
    assert site.queues == {"default", "asked"}


@pytest.mark.parametrize("paused", ["nothing", "queue", "pool"])
async def test_a_worker_that_was_told_no_names_asks_every_queue_and_so_keeps_none(site: Site, paused: str) -> None:
    site.queue("a", is_paused=paused == "queue")
    site.queue("b")
    site.rest.change_pool(site.pool, is_paused=paused == "pool")
    site.poll()
    assert results(await clear_queues(site)) == [Result.DONE, Result.DONE]
    assert site.queues == {"default"}


async def test_of_many_queues_the_one_in_use_is_found_with_few_requests(site: Site) -> None:
    site.copies("work_queue", site.queue("copy"), [f"copy {number}" for number in range(450)])
    site.rest.deployment(site.pool, work_queue_name="copy 222")
    async with connect() as api:
        scope = await site.scope(api)
        before = api.requests
        found = decide_empty_queues(await observe_queues(api, scope), scope)
        assert api.requests - before < 40
    gone = {verdict.target.name.partition("/")[2] for verdict in actions(found)}
    assert gone == {"copy", *(f"copy {number}" for number in range(450))} - {"copy 222"}
    assert found.left == {"the default queue of its work pool": 1, "in use": 1}
    # Prefect takes its time to delete a pool with so many queues.
    with database(site.home) as connection:
        connection.execute("DELETE FROM work_queue WHERE work_pool_id = ? AND name LIKE 'copy %'", (site.id,))


@pytest.mark.parametrize("name", [".", ".."])
async def test_a_queue_named_like_a_folder_does_not_take_its_pool_with_it(site: Site, name: str) -> None:
    site.queue(name)
    assert results(await clear_queues(site)) == [Result.DONE]
    assert site.queues == {"default"}


# Work pools


@pytest.mark.parametrize("own", [None, "", "mine", "\n\nmine\n", "[Poolkeeper] is great | `x` 🐝"])
async def test_marks_an_idle_pool_and_takes_the_mark_away_without_a_trace_once_it_is_used(
    site: Site, own: str | None
) -> None:
    site.describe(own)
    (outcome,) = await clear_pools(site)
    assert (outcome.verdict.target.name, outcome.result) == (site.pool, Result.DONE)
    mark = read_mark(site.description)
    assert mark is not None
    assert mark.until - mark.at == timedelta(days=7)
    assert abs(mark.at - datetime.now(UTC)) < timedelta(minutes=2)
    assert await clear_pools(site) == []
    site.rest.deployment(site.pool)
    assert results(await clear_pools(site)) == [Result.DONE]
    assert site.description == own


@pytest.mark.parametrize("own", [None, "", "mine"])
async def test_deletes_a_pool_after_its_time_of_grace_and_keeps_what_it_takes_to_make_it_again(
    site: Site, own: str | None
) -> None:
    site.queue("fast", concurrency_limit=2)
    site.rest.change_pool(site.pool, concurrency_limit=5, is_paused=True)
    site.marked(own)
    (outcome,) = await clear_pools(site)
    assert (outcome.verdict.verb, outcome.result) == (Verb.DELETE, Result.DONE)
    assert site.row is None
    archive = await archive_of(outcome)
    async with connect() as api:
        await restore(api, archive)
    assert site.row is not None
    assert site.description == own
    assert (site.row["concurrency_limit"], site.row["is_paused"]) == (5, True)
    assert site.queues == {"default", "fast"}


async def test_a_pool_whose_time_of_grace_is_not_over_stays(site: Site) -> None:
    site.marked(ago=6 * DAY)
    assert await clear_pools(site) == []
    site.marked(ago=20 * DAY)
    assert await clear_pools(site, retention=Retention(grace_days=30)) == []
    assert site.row is not None


def _deployment(site: Site) -> None:
    site.rest.deployment(site.pool)


def _worker(site: Site) -> None:
    site.worker(seen=timedelta(0))


def _worker_seen_lately(site: Site) -> None:
    site.worker(seen=29 * DAY)


def _old_run_not_ended(site: Site) -> None:
    site.put("flow_run", site.run(None, "RUNNING"), expected_start_time=99 * DAY, start_time=99 * DAY)


def _run_ended_lately(site: Site) -> None:
    site.put("flow_run", site.run("fast", "RUNNING", "CANCELLED"), expected_start_time=99 * DAY, end_time=29 * DAY)


def _run_due_lately(site: Site) -> None:
    site.put("flow_run", site.run(None, "RUNNING", "FAILED"), expected_start_time=29 * DAY, end_time=None)


def _person_writes(site: Site) -> None:
    site.describe("Needed for the audit.")


def _made_lately(site: Site) -> None:
    site.put("work_pool", site.id, created=29 * DAY)


USES = [
    _deployment,
    _worker,
    _worker_seen_lately,
    _old_run_not_ended,
    _run_ended_lately,
    _run_due_lately,
    _made_lately,
]


@pytest.mark.parametrize("use", USES)
async def test_a_pool_that_something_uses_is_neither_marked_nor_deleted_and_loses_its_mark(
    site: Site, use: Callable[[Site], None]
) -> None:
    use(site)
    site.describe("mine")
    assert await clear_pools(site) == []
    assert site.description == "mine"
    site.marked("mine")
    assert [outcome.verdict.verb for outcome in await clear_pools(site)] == [Verb.CHANGE]
    assert site.description == "mine"


@pytest.mark.parametrize("use", USES)
async def test_a_pool_that_is_used_before_its_turn_is_not_deleted(site: Site, use: Callable[[Site], None]) -> None:
    site.marked()
    outcomes = await clear_pools(site, lambda: use(site))
    assert results(outcomes) == [Result.SKIPPED]
    assert "no longer idle" in outcomes[0].detail
    assert (site.description or "").startswith(OPENING)


async def test_a_pool_that_is_used_before_its_turn_is_not_marked(site: Site) -> None:
    outcomes = await clear_pools(site, lambda: _worker(site))
    assert (results(outcomes), site.description) == ([Result.SKIPPED], None)


async def test_what_was_long_ago_is_no_use(site: Site) -> None:
    site.worker(seen=31 * DAY)
    run = site.run("fast", "RUNNING", "COMPLETED")
    site.put("flow_run", run, expected_start_time=31 * DAY, start_time=31 * DAY, end_time=31 * DAY)
    site.marked()
    assert results(await clear_pools(site)) == [Result.DONE]
    assert site.row is None


@pytest.mark.parametrize("type_", ["ecs:push", "prefect:managed", "prefect-agent", "docker"])
async def test_pools_of_every_type_can_be_idle_and_go(site: Site, type_: str) -> None:
    site.put("work_pool", site.id, type=type_)
    assert results(await clear_pools(site)) == [Result.DONE]
    site.marked()
    assert results(await clear_pools(site)) == [Result.DONE]
    assert site.row is None


@pytest.mark.parametrize("is_marked", [True, False])
async def test_what_a_person_writes_before_the_pools_turn_stays(site: Site, is_marked: bool) -> None:
    if is_marked:
        site.marked()
    outcomes = await clear_pools(site, lambda: site.describe("Needed for the audit."))
    assert (results(outcomes), site.description) == ([Result.SKIPPED], "Needed for the audit.")


async def test_a_pool_that_auto_pause_holds_is_left(site: Site) -> None:
    words = "Paused 2026-03-29 11:00:00 UTC: 8 of 10 runs failed. Former limit: none."
    site.marked()
    leased = with_note(site.description, words, "0abc12.1")
    outcomes = await clear_pools(site, lambda: site.describe(leased))
    assert results(outcomes) == [Result.SKIPPED]
    assert await clear_pools(site) == []
    assert site.description == leased


async def test_a_mark_that_a_person_has_made_unreadable_is_left(site: Site) -> None:
    site.marked()
    edited = (site.description or "").replace("Deleted after", "Please do not delete before")
    site.describe(edited)
    assert await clear_pools(site) == []
    assert site.description == edited


async def test_a_pool_of_the_same_name_that_came_instead_is_another_one(site: Site) -> None:
    site.marked()

    def replaced() -> None:
        site.rest.delete_pool(site.pool)
        site.put("work_pool", str(site.rest.pool(site.pool)["id"]), created=365 * DAY)

    (outcome,) = await clear_pools(site, replaced)
    assert (outcome.result, outcome.detail) == (Result.DONE, ALREADY_GONE)
    assert site.row is not None


async def test_a_pool_that_is_gone_before_its_turn_is_done(site: Site) -> None:
    site.marked()
    (outcome,) = await clear_pools(site, lambda: site.rest.delete_pool(site.pool))
    assert (outcome.result, outcome.detail) == (Result.DONE, ALREADY_GONE)


async def test_a_pool_that_cannot_be_archived_stays_as_it_is(site: Site) -> None:
    site.marked("mine")
    before = site.description
    with pytest.raises(ApiProblem, match="cannot be written"):
        await clear_pools(site, archive=nothing_archived)
    assert site.description == before


@pytest.mark.parametrize("use", [_deployment, _worker, _person_writes])
async def test_a_pool_that_is_used_while_it_is_archived_stays(site: Site, use: Callable[[Site], None]) -> None:
    site.marked()
    await clear_pools(site, archive=meanwhile(archive_pool, lambda: use(site)))
    assert site.row is not None


async def test_a_pool_whose_worker_was_seen_within_the_idle_time_is_not_idle_once_the_workers_row_is_gone(
    site: Site,
) -> None:
    site.worker(seen=2 * DAY)
    assert await clear_pools(site) == []
    assert results(await clear_workers(site)) == [Result.DONE]
    assert await clear_pools(site) == []


async def test_a_pool_whose_runs_ended_within_the_idle_time_stays_in_use_because_their_queue_stays(site: Site) -> None:
    run = site.run("fast", "RUNNING", "COMPLETED")
    assert await clear_pools(site) == []
    assert await clear_queues(site) == []
    assert site.rest.read(f"/flow_runs/{run}")["work_pool_name"] == site.pool
    assert await clear_pools(site) == []


async def test_many_pools_are_looked_at_with_one_request_for_the_workers_of_each(site: Site) -> None:
    site.copies("work_pool", site.id, names := [f"{site.pool} {number}" for number in range(250)])
    try:
        async with connect() as api:
            scope = await site.scope(api, f"{site.pool}*")
            before = api.requests
            found = decide_idle_pools(await observe_idle_pools(api, scope), scope)
            assert api.requests - before < len(names) + 20
        assert len(actions(found)) == len(names) + 1
    finally:
        with database(site.home) as connection:
            connection.execute("DELETE FROM work_pool WHERE name LIKE ?", (f"{site.pool} %",))


async def test_a_second_cleanup_right_after_the_first_has_nothing_to_do(site: Site) -> None:
    site.worker()
    site.queue("fast")
    cleanups: tuple[Callable[[Site], Awaitable[list[Outcome]]], ...] = (clear_workers, clear_queues)
    for clear in cleanups:
        assert results(await clear(site)) == [Result.DONE]
        assert await clear(site) == []


async def test_no_secret_of_a_template_is_told_when_its_pool_is_deleted(site: Site) -> None:
    secret = "hunter2-canary"  # noqa: S105 - made up
    template = {"job_configuration": {"env": {"PASSWORD": secret}}, "variables": {"type": "object", "properties": {}}}
    site.rest.change_pool(site.pool, base_job_template=template)
    site.marked()
    (outcome,) = await clear_pools(site)
    assert outcome.result is Result.DONE
    assert secret not in repr(outcome)
    kept = site.rest.ask("/block_documents/filter", include_secrets=False)
    assert secret not in json.dumps(kept)
    assert secret not in repr(await archive_of(outcome))

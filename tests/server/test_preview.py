"""pool-preview on a real server."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.policy.selection import select_pools
from flows.prefect_api import connect
from flows.prefect_api.upcoming import observe_upcoming
from flows.prefect_api.work_pools import read_pools
from tests.database import copies, damage_schedules, took
from tests.rest import Rest, unique, wait_for

pytestmark = pytest.mark.anyio

COLUMNS = [
    "start", "pool", "queue", "deployment", "run", "run_id", "source", "verdict", "reason", "expected_start",
]  # fmt: skip
TABLE = "pool-preview-table"
EVERY_5_MINUTES = {"cron": "*/5 * * * *", "timezone": "Europe/Berlin"}


async def look(preview: Any, **parameters: Any) -> Any:
    return await preview(**parameters, return_state=True)


def scheduled(*schedules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"schedules": [{"schedule": each, "active": True, **fields} for each in schedules]}


def made_by_the_scheduler(rest: Rest, deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """The deployment's scheduled runs, once Prefect's scheduler has made some."""
    query = {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    return wait_for(lambda: rest.everything("/flow_runs/filter", **query, sort="ID_DESC"), seconds=120, what="runs")


@pytest.fixture
def home(environment: dict[str, str]) -> Path:
    return Path(environment["PREFECT_HOME"])


@pytest.fixture(scope="module")
def five(environment: dict[str, str], server: str) -> dict[str, Any]:
    """A pool with a deployment that runs every five minutes, for which the scheduler has made its first runs."""
    assert server in environment["PREFECT_API_URL"]
    with Rest(server) as rest:
        name = unique("five")
        rest.pool(name)
        rest.worker(name)
        deployment = rest.deployment(name, **scheduled(EVERY_5_MINUTES))
        made_by_the_scheduler(rest, deployment)
    return {"pool": name, "deployment": deployment}


async def test_every_5_minutes_for_24_hours_is_288_runs_and_none_twice(
    preview: Any, rest: Rest, five: dict[str, Any]
) -> None:
    state = await look(preview, pools=[five["pool"]])
    rows = rest.table(f"pool-preview-{five['pool']}-table")
    assert state.is_completed()
    assert list(rows[0]) == COLUMNS
    assert 287 <= len(rows) <= 289
    starts = [row["start"] for row in rows]
    assert len(set(starts)) == len(starts)
    assert starts == sorted(starts)
    assert {row["source"] for row in rows} == {"scheduled", "projected"}
    made = {run["id"] for run in made_by_the_scheduler(rest, five["deployment"])}
    assert {row["run_id"] for row in rows if row["source"] == "scheduled"} <= made
    assert {row["verdict"] for row in rows} == {"will-start"}


async def test_more_hours_are_more_runs(preview: Any, rest: Rest, five: dict[str, Any]) -> None:
    counts = {}
    for hours in (1, 48):
        await look(preview, pools=[five["pool"]], hours=hours)
        counts[hours] = len(rest.table(f"pool-preview-{five['pool']}-table"))
    assert counts[1] in (11, 12, 13)
    assert counts[48] in (575, 576, 577)


async def test_looking_changes_nothing(preview: Any, rest: Rest, five: dict[str, Any]) -> None:
    """No worker here: the call that workers make would show in the queue, the deployment and the events."""
    name = unique("untouched")
    rest.pool(name)
    deployment = rest.deployment(name, **scheduled(EVERY_5_MINUTES))
    made_by_the_scheduler(rest, deployment)

    def everything() -> dict[str, Any]:
        return {
            "pool": rest.read(f"/work_pools/{name}"),
            "queues": rest.ask(f"/work_pools/{name}/queues/filter"),
            "deployment": rest.read(f"/deployments/{deployment['id']}"),
            "workers": rest.ask(f"/work_pools/{five['pool']}/workers/filter"),
        }

    before = everything()
    await look(preview, pools=[name, five["pool"]], hours=48)
    after = everything()
    assert after == before
    assert after["queues"][0]["last_polled"] is None
    events = rest.ask("/events/filter", filter={"any_resource": {"id": [f"prefect.deployment.{deployment['id']}"]}})
    assert "prefect.deployment.ready" not in {event["event"] for event in events["events"]}


async def test_a_cancelled_run_is_neither_shown_nor_projected_again(
    preview: Any, rest: Rest, five: dict[str, Any]
) -> None:
    victim = made_by_the_scheduler(rest, five["deployment"])[0]
    rest.ask(f"/flow_runs/{victim['id']}/set_state", state={"type": "CANCELLED", "name": "Cancelled"}, force=True)
    await look(preview, pools=[five["pool"]])
    starts = {datetime.fromisoformat(row["start"]) for row in rest.table(f"pool-preview-{five['pool']}-table")}
    assert datetime.fromisoformat(victim["expected_start_time"]) not in starts


async def test_says_what_stands_in_the_way_of_each_run(preview: Any, rest: Rest) -> None:
    prefix = unique("way")
    deployments = {}
    for kind in ("fine", "paused", "unattended", "zero", "queue"):
        rest.pool(f"{prefix}-{kind}", is_paused=kind == "paused", concurrency_limit=0 if kind == "zero" else None)
        if kind != "unattended":
            rest.worker(f"{prefix}-{kind}")
    rest.ask(f"/work_pools/{prefix}-queue/queues", name="closed", is_paused=True)
    for kind in ("fine", "paused", "unattended", "zero", "queue"):
        queue = {"work_queue_name": "closed"} if kind == "queue" else {}
        deployments[kind] = rest.deployment(f"{prefix}-{kind}", **queue)
        rest.run(deployments[kind], due=timedelta(minutes=-30))
        rest.run(deployments[kind], "LATE", due=timedelta(hours=1))
    await look(preview, pools=[f"{prefix}-*"])
    rows = {(row["pool"].removeprefix(f"{prefix}-"), row["verdict"]): row for row in rest.table(TABLE)}
    why = {
        "paused": "the work pool is paused",
        "unattended": "no worker is online",
        "zero": "the work pool's concurrency limit is 0",
        "queue": "the work queue 'closed' is paused",
    }
    for kind, reason in why.items():
        assert rows[kind, "blocked"]["reason"] == rows[kind, "late"]["reason"] == reason
        assert rows[kind, "blocked"]["expected_start"] is rows[kind, "late"]["expected_start"] is None
    assert rows["fine", "will-start"]["expected_start"] == rows["fine", "will-start"]["start"]
    assert rows["queue", "blocked"]["queue"] == "closed"
    page = rest.page("pool-preview")
    assert page.index("Late and blocked") < page.index("the work pool is paused")


async def test_forecasts_who_waits_from_how_long_runs_took(preview: Any, rest: Rest, home: Path) -> None:
    name = unique("busy")
    rest.pool(name, concurrency_limit=2)
    rest.worker(name)
    deployment = rest.deployment(name)
    for seconds in (540, 600, 660):
        took(home, rest.run(deployment, "RUNNING", "COMPLETED"), seconds)
    for _ in range(4):
        rest.run(deployment, due=timedelta(minutes=-60))
    await look(preview, pools=[name])
    rows = rest.table(f"pool-preview-{name}-table")
    waits = sorted(
        (datetime.fromisoformat(row["expected_start"]) - datetime.fromisoformat(row["start"])).total_seconds()
        for row in rows
    )
    assert [row["verdict"] for row in rows].count("will-wait") == 2
    # Created one after the other, so due a moment apart.
    assert waits[:2] == [0, 0]
    assert all(590 <= wait <= 601 for wait in waits[2:])
    page = rest.page(f"pool-preview-{name}")
    assert "**4** \\(2 more than now\\)" in page or "**4** (2 more than now)" in page
    assert "3 past runs" in page
    assert '<img alt="Slots wanted by' in page
    await look(preview, pools=[name], what_if_limit=4)
    assert {row["verdict"] for row in rest.table(f"pool-preview-{name}-table")} == {"will-start"}
    assert "limit of 4" in rest.latest(f"pool-preview-{name}")["description"].replace("\\", "")


async def test_shows_work_that_no_pool_will_ever_start(preview: Any, rest: Rest) -> None:
    name = unique("gone")
    rest.pool(name)
    deployment = rest.deployment(name, **scheduled({"cron": "0 * * * *"}))
    rest.delete_pool(name)
    await look(preview)
    rows = [row for row in rest.table(TABLE) if row["deployment"].endswith(deployment["name"])]
    assert len(rows) in (24, 25)
    assert {(row["pool"], row["verdict"]) for row in rows} == {("", "blocked")}
    assert "no work pool" in rows[0]["reason"]
    rest.delete(f"/deployments/{deployment['id']}")


async def test_a_schedule_that_makes_no_sense_is_reported_and_the_rest_shown(
    preview: Any, rest: Rest, home: Path
) -> None:
    name = unique("broken")
    rest.pool(name)
    never = rest.deployment(name, **scheduled({"cron": "0 0 31 2 *"}, {"cron": "0 * * * *"}))
    broken = rest.deployment(name, **scheduled({"cron": "30 * * * *"}))
    paused = rest.deployment(name, paused=True, **scheduled({"cron": "* * * * *"}))
    rest.deployment(name, schedules=[{"schedule": {"cron": "* * * * *"}, "active": False}])
    damage_schedules(home, broken["id"], '{"cron": "not a cron", "timezone": "UTC"}')
    try:
        state = await look(preview, pools=[name])
        assert state.is_completed()
        page = rest.page(f"pool-preview-{name}")
        rows = rest.table(f"pool-preview-{name}-table")
    finally:
        # Prefect cannot even delete what it cannot read.
        damage_schedules(home, broken["id"], '{"cron": "30 * * * *", "timezone": "UTC"}')
        for deployment in (never, broken, paused):
            rest.delete(f"/deployments/{deployment['id']}")
    assert {row["deployment"].partition("/")[2] for row in rows if row["source"] == "projected"} == {never["name"]}
    assert len([row for row in rows if row["deployment"].endswith(never["name"])]) in (24, 25)
    assert "failed to find next date" in page
    assert "that the server itself cannot read" in page
    assert "1 paused deployment" in page
    assert "1 inactive schedule" in page


async def test_a_schedule_of_every_second_is_listed_up_to_a_bound_and_counted_beyond(preview: Any, rest: Rest) -> None:
    name = unique("seconds")
    rest.pool(name)
    deployment = rest.deployment(name, paused=False, **scheduled({"cron": "* * * * * *"}))
    try:
        await look(preview, pools=[name])
        page = rest.page(f"pool-preview-{name}")
        parts = [rest.table(f"pool-preview-{name}-table{part}") for part in ("", "-2", "-3", "-4", "-5")]
    finally:
        rest.delete(f"/deployments/{deployment['id']}")
    rows = [row for part in parts for row in part]
    assert len(rows) >= 50_000
    assert len({row["start"] for row in rows}) == len(rows)
    assert "too many to list" in page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timezone": "Europe/Berlim"}, "'Europe/Berlin'"),
        ({"timezone": "../etc/passwd"}, "No time zone is named"),
        ({"pools": ["no-such-pool-anywhere"]}, "No work pool is named"),
    ],
)
async def test_bad_input_is_refused_with_words(preview: Any, rest: Rest, wrong: Any, said: str) -> None:
    rest.pool(unique("any"))
    state = await look(preview, **wrong)
    assert state.is_failed()
    assert said in state.message
    assert "Nothing was done" in state.message


@pytest.mark.parametrize(
    "wrong", [{"hours": 0}, {"hours": -1}, {"hours": 745}, {"acceptable_wait_minutes": -1}, {"what_if_limit": 0}]
)
async def test_numbers_out_of_range_are_refused(preview: Any, wrong: Any) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        await preview(**wrong)


async def test_nothing_selected_does_nothing_and_says_so(preview: Any, rest: Rest) -> None:
    state = await look(preview, pools=[])
    assert state.is_completed()
    assert "empty list" in state.message
    assert rest.table(TABLE) == []


async def test_leaves_a_calendar_where_it_is_asked_for(preview: Any, rest: Rest, five: dict[str, Any]) -> None:
    await look(preview, pools=[five["pool"]], hours=2, calendar=True)
    page = rest.page(f"pool-preview-{five['pool']}-calendar")
    rows = rest.table(f"pool-preview-{five['pool']}-table")
    assert page.count("BEGIN:VEVENT") == len(rows)


async def test_durations_are_read_for_every_deployment_however_busy_another_is(rest: Rest, home: Path) -> None:
    """One that ran 300 times lately does not hide one that ran once, long ago."""
    name = unique("uneven")
    rest.pool(name)
    busy, rare = rest.deployment(name), rest.deployment(name)
    first = rest.run(rare, "RUNNING", "COMPLETED")
    took(home, first, 77, ago=timedelta(days=30))
    run = rest.run(busy, "RUNNING", "COMPLETED")
    took(home, run, 5)
    copies(home, run, 300)
    for deployment in (busy, rare):
        rest.run(deployment, due=timedelta(minutes=-10))
    async with connect() as api:
        now = await api.server_time()
        pools = await read_pools(api)
        selection = select_pools([name], [], [pool.name for pool in pools])
        facts = await observe_upcoming(api, pools, selection, now=now, until=now + timedelta(hours=1))
    assert facts.past[rare["id"]] == (timedelta(seconds=77),)
    assert facts.past[busy["id"]] == (timedelta(seconds=5),) * 20

"""pool-cleanup as a whole on a real server: what it deletes, what it leaves, and how it ends."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.exceptions import ParameterTypeError

from flows.policy.cleanup.caps import Caps, CleanupLimit
from flows.policy.cleanup.pace import Pace
from flows.policy.cleanup.retention import Retention
from flows.policy.plan import Result
from flows.prefect_api import connect, finished_runs
from flows.prefect_api.cleanup import Settings, clearings, decide, observe_cleanup, open_question
from tests.database import database
from tests.rest import Rest, wait_for
from tests.server.cleaning import KEEP_NONE, Attic

pytestmark = pytest.mark.anyio


@pytest.fixture
def attic(rest: Rest, environment: dict[str, str]) -> Iterator[Attic]:
    attic = Attic(rest, environment)
    yield attic
    rest.delete_pool(attic.pool)


async def test_a_dry_run_changes_nothing_and_says_what_it_would_do(attic: Attic) -> None:
    attic.old(60)
    state = await attic.sweep(dry_run=True)
    assert (state.type.value, attic.count()) == ("COMPLETED", 60)
    assert state.message.startswith("Dry run: delete 60 finished runs; plan ")
    assert attic.outcomes() == {"planned": 60}
    digest = state.message.rpartition(" ")[2]
    assert f"its plan is `{digest}`" in attic.page()
    again = await attic.sweep(dry_run=True)
    assert again.message.endswith(digest)


async def test_a_thousand_runs_are_all_deleted_and_none_is_skipped(attic: Attic) -> None:
    attic.old(1000)
    state = await attic.sweep()
    assert (state.type.value, attic.count()) == ("COMPLETED", 0)
    assert state.message.startswith("1,000 of 1000 actions done")
    assert attic.outcomes() == {"done": 1000}
    assert (await attic.sweep()).message.startswith("Nothing to clear away")


async def test_one_that_cannot_be_deleted_does_not_keep_the_others(attic: Attic) -> None:
    ids = attic.old(500)
    with attic.undeletable(ids[120]):
        state = await attic.sweep()
    assert state.type.value == "FAILED"
    assert attic.outcomes() == {"done": 499, "failed": 1}
    assert attic.there(ids) == {ids[120]}
    assert "499 of 500 actions done; 1 failed" in state.message


async def decided(attic: Attic, api: Any, **retention: Any) -> Any:
    settings = Settings(
        ["finished-runs"], Retention(**KEEP_NONE | retention), Caps(), CleanupLimit(), Pace(), "none", dry_run=False
    )
    question = await open_question(api, [attic.pool], [], settings)
    facts = await observe_cleanup(api, question)
    return decide(question, facts), clearings(api, question, facts)


async def test_what_changed_since_it_was_planned_is_left_alone(attic: Attic, rest: Rest) -> None:
    retried, tagged, gone, usual = attic.old(4)
    async with connect() as api:
        decision, clearing = await decided(attic, api)
        rest.ask(f"/flow_runs/{retried}/set_state", state={"type": "SCHEDULED", "name": "AwaitingRetry"}, force=True)
        rest.patch(f"/flow_runs/{tagged}", json={"tags": ["keep"]}).raise_for_status()
        rest.delete(f"/flow_runs/{gone}").raise_for_status()
        (new,) = attic.old(1)
        outcomes = await clearing.act(decision.plan.actions)
    became = {outcome.verdict.target.id: outcome.result for outcome in outcomes}
    assert became == {
        retried: Result.SKIPPED, tagged: Result.SKIPPED, gone: Result.DONE, usual: Result.DONE,
    }  # fmt: skip
    assert attic.there([retried, tagged, gone, usual, new]) == {retried, tagged, new}


async def test_the_last_runs_the_latest_failure_and_tagged_ones_are_kept(attic: Attic) -> None:
    older = attic.old(6, days=60)
    (failure,) = attic.old(1, "RUNNING", "FAILED", days=50)
    (kept,) = attic.old(1, days=45, tags='["keep"]')
    attic.old(3, "CANCELLED", days=41)
    last = attic.old(3)
    await attic.sweep(retention={"keep_last": 3, "keep_latest_failure": True})
    assert attic.there([*older, failure, kept, *last]) == {failure, kept, *last}
    assert attic.count() == 5
    assert "among the last 3 of their deployment" in attic.page()


async def test_cancelled_runs_push_no_real_ones_out(attic: Attic) -> None:
    real = attic.old(5)
    attic.old(3, "CANCELLED", days=35)
    await attic.sweep(retention={"keep_last": 3})
    assert attic.there(real) == set(real[-3:])


async def test_a_state_of_another_name_and_a_run_that_never_started_are_deleted_too(attic: Attic) -> None:
    attic.old(2, "RUNNING", "COMPLETED", state_name="Cached")
    attic.old(2, "CANCELLED")
    await attic.sweep()
    assert attic.count() == 0


async def test_a_parent_is_kept_while_a_subflow_of_its_subflow_has_not_ended(attic: Attic, rest: Rest) -> None:
    parent, child, other = attic.old(3)
    running = rest.run(attic.deployment, "RUNNING")

    def below(parent: str, child: str) -> None:
        task = rest.ask("/task_runs/", flow_run_id=parent, task_key="t", dynamic_key=str(uuid4()))
        with database(attic.home) as connection:
            connection.execute("UPDATE flow_run SET parent_task_run_id = ? WHERE id = ?", (task["id"], child))

    below(parent, child)
    below(child, running)
    await attic.sweep()
    assert attic.there([parent, child, other, running]) == {parent, child, running}
    assert "a subflow of theirs has not ended" in attic.page()


async def test_nothing_is_lost_or_doubled_where_windows_of_reading_meet(
    attic: Attic, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = attic.old(90)
    same = datetime.now(UTC) - timedelta(days=33)
    with database(attic.home) as connection:
        moment = same.strftime("%Y-%m-%d %H:%M:%S.%f")
        connection.executemany("UPDATE flow_run SET end_time = ? WHERE id = ?", [(moment, each) for each in ids[:40]])
    monkeypatch.setattr(finished_runs, "WINDOW", 20)
    state = await attic.sweep()
    assert state.message.startswith("90 of 90 actions done")
    assert attic.count() == 0


async def test_caps_take_the_oldest_first_and_say_what_is_left(attic: Attic) -> None:
    ids = attic.old(30)
    await attic.sweep(caps={"finished_runs": 10})
    assert attic.there(ids) == set(ids[10:])
    assert "20: more than may go at once" in attic.page()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kinds": []}, "'kinds' is an empty list"),
        ({"pools": []}, "'pools' is an empty list"),
        ({"retention": {"keep_tags": ["kep"]}}, "has the tag 'kep'"),
        ({"caps": {"finished_runs": 0}}, "Nothing to clear away"),
        ({"limit": {"max_actions": 0}}, "at most 0 are allowed"),
        ({"limit": {"max_actions": 4}}, "would change 5 things; at most 4"),
    ],
)
async def test_nothing_is_deleted_where_nothing_is_asked_for_and_it_says_why(
    attic: Attic, changed: dict[str, Any], words: str
) -> None:
    attic.old(5)
    state = await attic.sweep(**changed)
    assert words in state.message
    assert attic.count() == 5


@pytest.mark.parametrize(
    "changed", [{"retention": {"finished_days": 0}}, {"kinds": ["everything"]}, {"caps": {"x": 1}}]
)
async def test_bad_parameters_are_refused_before_anything_is_looked_at(attic: Attic, changed: dict[str, Any]) -> None:
    attic.old(5)
    state = await attic.sweep(**changed)
    with pytest.raises(ParameterTypeError):
        await state.aresult()
    assert attic.count() == 5


async def test_two_at_once_fail_nothing_and_tell_of_each_run_once(attic: Attic) -> None:
    ids = attic.old(200)
    states = await asyncio.gather(attic.sweep(), attic.sweep())
    assert {state.type.value for state in states} == {"COMPLETED"}
    assert attic.count() == 0

    def told() -> list[str]:
        query = {"event": {"name": ["poolkeeper.run.deleted"]}, "related": {"id": [f"prefect.work-pool.{attic.pool}"]}}
        return [event["resource"]["prefect.resource.id"] for event in attic.rest.events(**query)]

    wait_for(lambda: len(set(told())) == len(ids), what="an event for each run")
    assert len(told()) == len(ids)


async def test_ends_in_order_when_its_time_is_up_and_goes_on_the_next_time(attic: Attic) -> None:
    attic.old(120)
    state = await attic.sweep(pace={"actions_per_second": 40, "budget_minutes": 0.02})
    left = attic.count()
    assert state.type.value == "COMPLETED"
    assert 0 < left < 120
    assert attic.outcomes() == {"done": 120 - left, "skipped": left}
    assert f"{left} left for the next run" in state.message
    await attic.sweep()
    assert attic.count() == 0


@pytest.mark.long
async def test_a_run_that_was_killed_is_found_its_table_completed_and_the_rest_done(attic: Attic, rest: Rest) -> None:
    ids = attic.old(300)
    process = attic.in_a_process(attic.parameters(pace={"actions_per_second": 50}))
    wait_for(lambda: 50 <= 300 - attic.count() < 250, seconds=60, what="a part of the runs to be deleted")
    process.kill()
    process.communicate()
    gone = set(ids) - attic.there(ids)
    died = attic.runs_of_cleanup()[0]["id"]
    state = await attic.sweep()
    assert attic.count() == 0
    assert state.message.startswith(f"{300 - len(gone)} of {300 - len(gone)} actions done")
    assert f"An earlier run died after {len(gone)} of 300 actions" in attic.page()
    (table,) = rest.ask("/artifacts/filter", artifacts={"flow_run_id": {"any_": [died]}, "type": {"any_": ["table"]}})
    import json  # noqa: PLC0415

    rows = json.loads(table["data"])
    assert {row["id"] for row in rows if row["outcome"] == "done"} == gone
    assert {row["outcome"] for row in rows if row["id"] not in gone} == {"skipped"}


def answered(attic: Attic, **answer: Any) -> Any:
    """The paused run's id, resumed with this answer once it waits; what the server says to it."""
    waiting = wait_for(
        lambda: next((row for row in attic.runs_of_cleanup() if row["state_type"] == "PAUSED"), None),
        what="the run to wait for approval",
    )
    prefix = waiting["state"]["state_details"]["run_input_keyset"]["schema"]
    wait_for(lambda: attic.rest.get(f"/flow_runs/{waiting['id']}/input/{prefix}").is_success, what="the form")
    return attic.rest.ask(f"/flow_runs/{waiting['id']}/resume", run_input=answer)


def finished(process: Any) -> str:
    output, _ = process.communicate(timeout=120)
    return str(output.splitlines()[-1])


@pytest.fixture
def asked(attic: Attic) -> Iterator[Any]:
    """A cleanup that waits for a person; with its 30 runs."""
    attic.ids = attic.old(30)  # type: ignore[attr-defined]
    process = attic.in_a_process(attic.parameters(approval="ask"))
    yield process
    process.kill()
    process.wait()


async def test_an_approved_plan_is_carried_out_and_nothing_else(attic: Attic, asked: Any) -> None:
    refused = answered(attic, decision="perhaps", at_most=1, why="Ann: trying")
    assert refused["status"] == "REJECT"
    assert answered(attic, decision="approve", at_most=31, why="Ann: too many")["status"] == "REJECT"
    (new,) = attic.old(1)
    assert answered(attic, decision="approve", at_most=30, why="Ann: looked through")["status"] == "ACCEPT"
    assert finished(asked).startswith("COMPLETED Completed 30 of 30 actions done")
    assert attic.count() == 1
    assert attic.there([new]) == {new}
    assert "was approved: Ann: looked through" in attic.page()


async def test_of_a_plan_approved_in_part_the_first_actions_are_done(attic: Attic, asked: Any) -> None:
    answered(attic, decision="approve", at_most=7, why="Ann: slowly")
    assert "7 of 30 actions done; 23 left for the next run" in finished(asked)
    assert attic.count() == 23
    assert attic.outcomes() == {"done": 7, "skipped": 23}
    assert "left: at most 7 were approved" in attic.page()


async def test_of_a_refused_plan_nothing_is_done_and_the_reason_is_told(attic: Attic, asked: Any) -> None:
    answered(attic, decision="refuse", at_most=30, why="Bob: we need them")
    output = finished(asked)
    assert output.startswith("COMPLETED Refused Plan ")
    assert output.endswith("was refused: Bob: we need them")
    assert attic.count() == 30
    assert attic.outcomes() == {"refused": 30}


async def test_a_plan_that_nobody_answers_is_not_carried_out(attic: Attic) -> None:
    attic.old(3)
    state = await attic.sweep(approval="ask", pace={"plan_hours": 0.001})
    assert state.type.value == "FAILED"
    assert attic.count() == 3
    assert attic.outcomes() == {"refused": 3}

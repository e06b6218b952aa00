"""pool-lifecycle on a real server: pausing, resuming, draining and limiting by hand, and what ends a pause."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows.policy.lifecycle.request import Request
from flows.policy.plan import Result
from flows.prefect_api import Unreachable, connect, draining
from flows.prefect_api.by_hand import Hands
from flows.prefect_api.lifecycle import observe_lifecycle, open_question
from flows.report.page import report_key
from tests.database import database
from tests.rest import Rest, unique, wait_for
from tests.server.hand import (
    WHY,
    ask,
    booked,
    deployed,
    events,
    fields,
    meanwhile,
    note_of,
    page,
    rows,
    run_booked,
    steps,
)
from tests.server.places import Killed, Place, dies_before
from tests.strategies import CANARY

pytestmark = pytest.mark.anyio

SOON = 0.05  # minutes


@pytest.fixture
def place(rest: Rest) -> Iterator[Place]:
    place = Place(rest, "hand", description="Nightly loads", concurrency_limit=5)
    yield place
    if place.exists():
        place.delete()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drained was paused long enough ago."""
    monkeypatch.setattr(draining, "SETTLES_SECONDS", 0.0)
    monkeypatch.setattr(draining, "SHORTEST_LOOK", 0.2)


# --- Pausing and resuming -----------------------------------------------------------------------------------------


async def test_a_pause_says_who_and_why_and_a_resume_leaves_no_trace(place: Place, rest: Rest) -> None:
    before = place.now()
    state = await ask("pause", place.name)
    assert (state.type.value, state.message) == ("COMPLETED", f"paused {place.name} (Ann: {WHY})")
    assert fields(place, "is_paused") == (True,)
    note = r"\[Poolkeeper: paused on [\d: -]+ UTC by Ann\. Why: database upgrade\. To end it, resume it\. Pause \w+\]"
    assert re.fullmatch(note + r"\n\nNightly loads", note_of(place))
    (row,) = rows(place)
    assert (row["kind"], row["target"], row["verb"], row["outcome"]) == ("pool", place.name, "pause", "done")
    assert WHY in page(place)
    state = await ask("resume", place.name, reason="it is done", actor="")
    assert state.message == f"resumed {place.name} (a person: it is done)"
    assert place.now() == before
    assert "it was paused on" in rows(place)[0]["reason"]
    wait_for(lambda: events(rest, "poolkeeper.pool.paused", place.name), what="an event of the pause")
    wait_for(lambda: events(rest, "poolkeeper.pool.resumed", place.name), what="an event of the resume")


async def test_the_name_of_a_run_tells_the_story(place: Place, rest: Rest) -> None:
    state = await ask("pause", place.name)
    assert rest.read(f"/flow_runs/{state.state_details.flow_run_id}")["name"] == f"pause {place.name}: {WHY}"


async def test_pausing_what_is_paused_gives_it_a_reason_and_another_pause_a_new_one(place: Place) -> None:
    place.rest.change_pool(place.name, is_paused=True)
    await ask("pause", place.name, reason="first")
    first = note_of(place)
    await ask("pause", place.name, reason="second", actor="Bob")
    assert "first" in first
    assert "by Bob. Why: second." in note_of(place)
    assert note_of(place).count("Poolkeeper") == 1
    assert note_of(place).endswith("\n\nNightly loads")
    assert fields(place, "is_paused") == (True,)


async def test_what_is_not_paused_is_not_resumed_and_it_says_so(place: Place) -> None:
    before = place.now()
    state = await ask("resume", place.name)
    assert state.type.value == "COMPLETED"
    assert state.message == f"Nothing to do: {place.name}: it is not paused (its runs start as usual)"
    assert place.now() == before


async def test_the_note_of_a_pause_that_was_ended_elsewhere_goes_with_the_next_resume(place: Place) -> None:
    await ask("pause", place.name)
    place.rest.change_pool(place.name, is_paused=False)
    await ask("resume", place.name)
    assert note_of(place) == "Nightly loads"
    assert rows(place)[0]["reason"] == "the pause that its note tells of is over"


@pytest.mark.parametrize(("backlog", "left"), [("keep", 3), ("latest", 2), ("drop", 1)])
async def test_the_backlog_is_dealt_with_before_the_resume(
    place: Place, rest: Rest, environment: dict[str, str], backlog: str, left: int
) -> None:
    every_minute = [{"schedule": {"interval": 60, "anchor_date": "2020-01-01T00:00:00Z"}, "active": False}]
    deployment = place.deployment(schedules=every_minute)
    own = rest.run(deployment, "LATE", due=timedelta(minutes=1))
    runs = [rest.run(deployment, "LATE", due=timedelta(minutes=minutes)) for minutes in (3, 2)]
    made_by_schedule(environment, runs)
    await ask("pause", place.name)
    state = await ask("resume", place.name, backlog=backlog)
    assert state.type.value == "COMPLETED"
    there = {row["id"]: row["state_name"] for row in rest.ask("/flow_runs/filter", flow_runs={"id": {"any_": runs}})}
    assert rest.read(f"/flow_runs/{own}")["state_name"] == "Late"
    assert list(there.values()).count("Late") == left - 1
    assert there[runs[1]] == ("Cancelled" if backlog == "drop" else "Late")
    assert len(rows(place, kind="run", verb="cancel", outcome="done")) == 3 - left
    assert not fields(place, "is_paused")[0]


def made_by_schedule(environment: dict[str, str], ids: list[str]) -> None:
    with database(Path(environment["PREFECT_HOME"])) as connection:
        connection.executemany("UPDATE flow_run SET auto_scheduled = ? WHERE id = ?", [(True, each) for each in ids])


# --- A pause that ends by itself ----------------------------------------------------------------------------------


@pytest.fixture
def own(rest: Rest) -> Iterator[Any]:
    with deployed(rest) as row:
        yield row


@pytest.mark.usefixtures("own")
async def test_a_pause_ends_when_it_is_to_end_and_leaves_no_trace(place: Place, rest: Rest) -> None:
    before = place.now()
    await ask("pause", place.name, expires_minutes=SOON)
    assert re.search(r"by Ann until [\d: -]+ UTC, when it is resumed\. Why", note_of(place))
    (run,) = booked(rest, place.name)
    assert run["name"] == f"resume {place.name}: its pause is over ({WHY})"
    assert run["state_type"] == "SCHEDULED"
    state = await run_booked(run)
    assert state.message == f"resumed {place.name} (Ann: its pause is over ({WHY}))"
    assert place.now() == before
    state = await run_booked(run | {"id": str((await again(rest, run))["id"])})
    assert state.type.value == "COMPLETED"
    assert place.now() == before


async def again(rest: Rest, run: dict[str, Any]) -> dict[str, Any]:
    """The same run once more, as where it was killed and is started again."""
    path = f"/deployments/{run['deployment_id']}/create_flow_run"
    return dict(rest.ask(path, parameters=run["parameters"], tags=run["tags"]))


@pytest.mark.usefixtures("own")
async def test_a_booked_run_leaves_what_a_person_has_done_since(place: Place, rest: Rest) -> None:
    await ask("pause", place.name, expires_minutes=SOON)
    (first,) = booked(rest, place.name)
    place.rest.change_pool(place.name, is_paused=False)
    assert (await run_booked(first)).type.value == "COMPLETED"
    assert fields(place, "is_paused", "description") == (False, "Nightly loads")
    await ask("pause", place.name, expires_minutes=SOON)
    second = booked(rest, place.name)[-1]
    place.rest.change_pool(place.name, is_paused=False)
    place.rest.change_pool(place.name, is_paused=True)
    assert (await run_booked(second)).type.value == "COMPLETED"
    assert fields(place, "is_paused", "description") == (True, "Nightly loads")
    assert "a person paused it anew" in rows(place)[0]["reason"]
    await ask("pause", place.name, expires_minutes=SOON, reason="short")
    third = booked(rest, place.name)[-1]
    await ask("pause", place.name, reason="until I say so")
    state = await run_booked(third)
    assert "is over already: somebody resumed it or paused it anew" in state.message
    assert fields(place, "is_paused") == (True,)
    assert "until I say so" in note_of(place)
    place.delete()
    assert (await run_booked(await again(rest, third))).message == f"Gone meanwhile: {place.name!r}. Nothing to do."


async def test_a_pause_with_an_end_is_refused_where_nothing_could_end_it(place: Place) -> None:
    before = place.now()
    state = await ask("pause", place.name, expires_minutes=5)
    assert state.is_failed()
    assert "there is none. Nothing was done. Run 'poolkeeper deploy' first" in state.message
    assert place.now() == before


@pytest.mark.usefixtures("own")
async def test_a_pause_never_stands_without_the_end_that_its_note_tells_of(
    place: Place, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("pause", place.name, WHY, "Ann", expires_minutes=5)
    before = place.now()
    async with connect() as api:
        with monkeypatch.context() as patch:
            dies_before(patch, api, 1)
            with pytest.raises(Killed):
                await steps(api, request)
        assert place.now() == before
        assert len(booked(rest, place.name)) == 1
        await steps(api, request)
    assert fields(place, "is_paused") == (True,)


# --- Limits -------------------------------------------------------------------------------------------------------


async def test_a_limit_is_set_and_taken_away_with_what_it_was_before(place: Place) -> None:
    state = await ask("set-concurrency-limit", place.name, concurrency_limit=0)
    assert state.message == f"{place.name}: concurrency limit 5 → 0 (Ann: {WHY})"
    assert fields(place, "concurrency_limit", "is_paused", "description") == (0, False, "Nightly loads")
    await ask("clear-concurrency-limit", place.name)
    assert fields(place, "concurrency_limit") == (None,)
    assert rows(place)[0]["reason"] == f"concurrency limit 0 → none; Ann: {WHY}"
    state = await ask("clear-concurrency-limit", place.name)
    assert state.message == f"Nothing to do: {place.name}: its concurrency limit is none already"


# --- Draining -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
async def test_a_drain_ends_when_nothing_runs_any_more_and_shows_how_far_it_is(place: Place, rest: Rest) -> None:
    deployment = place.deployment()
    running, pending = rest.run(deployment, "RUNNING"), rest.run(deployment, "PENDING")
    waiting = rest.run(deployment)

    def end_them() -> None:
        wait_for(lambda: fields(place, "is_paused") == (True,), what="the pause")
        assert "[Poolkeeper: draining since " in note_of(place)
        for run in (running, pending):
            assert not page(place).startswith("**drained")
            rest.ask(f"/flow_runs/{run}/set_state", state={"type": "COMPLETED"}, force=True)

    state = await meanwhile(ask("drain", place.name), end_them)
    assert (state.type.value, state.message) == ("COMPLETED", f"drained {place.name} (Ann: {WHY})")
    assert re.match(
        r"\[Poolkeeper: drained on [\d: -]+ UTC, draining since .*\n\nNightly loads", note_of(place), re.DOTALL
    )
    assert [row["verb"] for row in rows(place, outcome="done")] == ["pause", "drain"]
    assert rest.read(f"/flow_runs/{waiting}")["state_type"] == "SCHEDULED"
    progress = rest.latest("pool-lifecycle-progress")
    assert (progress["data"], progress["description"]) == (100.0, f"{place.name}: nothing runs any more")
    await ask("resume", place.name)
    assert fields(place, "is_paused", "description") == (False, "Nightly loads")


@pytest.mark.usefixtures("quick")
async def test_a_person_who_resumes_ends_a_drain(place: Place, rest: Rest) -> None:
    rest.run(place.deployment(), "RUNNING")

    def resume() -> None:
        wait_for(lambda: fields(place, "is_paused") == (True,), what="the pause")
        place.rest.change_pool(place.name, is_paused=False)

    state = await meanwhile(ask("drain", place.name, wait_minutes=0.3), resume)
    assert state.type.value == "COMPLETED"
    assert "somebody has resumed it; 1 run had not ended" in state.message
    assert not fields(place, "is_paused")[0]
    assert rows(place, verb="drain")[0]["outcome"] == "skipped"


@pytest.mark.usefixtures("quick")
async def test_a_drain_that_takes_too_long_fails_and_says_what_still_runs(place: Place, rest: Rest) -> None:
    run = rest.run(place.deployment(), "RUNNING")
    state = await ask("drain", place.name, wait_minutes=0)
    name = rest.read(f"/flow_runs/{run}")["name"]
    assert state.is_failed()
    assert f"1 run had not ended after 0 s: {name} (Running for " in state.message
    assert f"[{name}](../../runs/flow-run/{run})" in page(place)
    assert fields(place, "is_paused") == (True,)
    before = note_of(place)
    rest.ask(f"/flow_runs/{run}/set_state", state={"type": "COMPLETED"}, force=True)
    state = await ask("drain", place.name)
    assert state.message.startswith(f"drained {place.name}")
    assert before.removeprefix("[Poolkeeper: ") in note_of(place)


async def test_what_a_worker_had_asked_for_before_the_pause_is_waited_for(
    place: Place, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "SETTLES_SECONDS", 2.0)
    monkeypatch.setattr(draining, "SHORTEST_LOOK", 0.2)
    deployment = place.deployment()

    def start() -> None:
        wait_for(lambda: fields(place, "is_paused") == (True,), what="the pause")
        rest.run(deployment, "PENDING")

    state = await meanwhile(ask("drain", place.name, wait_minutes=0.05), start)
    assert "1 run had not ended" in state.message


@pytest.mark.usefixtures("quick")
async def test_a_server_that_does_not_answer_for_a_while_does_not_end_a_drain(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, failures = draining.read_runs, iter([Unreachable("down"), Unreachable("down")])

    async def read_runs(*arguments: Any) -> Any:
        for failure in failures:
            raise failure
        return await look(*arguments)

    monkeypatch.setattr(draining, "read_runs", read_runs)
    state = await ask("drain", place.name)
    assert state.message == f"drained {place.name} (Ann: {WHY})"


async def test_a_drain_that_was_killed_leaves_a_paused_pool_that_says_so(place: Place) -> None:
    async with connect() as api:
        await steps(api, Request("drain", place.name, WHY, "Ann"), at_most=1)
    assert fields(place, "is_paused") == (True,)
    assert "draining since" in note_of(place)


# --- What is refused, and what is left alone ----------------------------------------------------------------------


async def test_what_does_not_fit_together_is_refused_before_anything_is_changed(place: Place) -> None:
    before = place.now()
    state = await ask("delete", place.name, expires_minutes=5)
    assert state.is_failed()
    assert state.message == (
        "Parameter 'expires_minutes' belongs to the action 'pause', and this is 'delete'. Leave it out. "
        "Nothing was done."
    )
    assert place.now() == before


@pytest.mark.parametrize("parameters", [{"expires_minutes": 0}, {"delete": {"everything": True}}])
async def test_what_cannot_be_meant_is_refused_before_anything_is_looked_at(
    place: Place, parameters: dict[str, Any]
) -> None:
    state = await ask("pause", place.name, **parameters)
    with pytest.raises(ParameterTypeError):
        await state.aresult()
    assert not fields(place, "is_paused")[0]


async def test_a_name_that_nobody_has_names_the_nearest(place: Place) -> None:
    state = await ask("pause", f"{place.name}x")
    assert state.is_failed()
    assert "(parameter 'pool')" in state.message
    assert f"The nearest name is {place.name!r}" in state.message


async def test_the_pool_that_runs_the_keeper_is_never_touched(rest: Rest) -> None:
    rest.post("/work_pools/", json={"name": "management", "type": "process", "base_job_template": {}})
    before = rest.read("/work_pools/management")
    for action in ("pause", "drain", "delete"):
        state = await ask(action, "management")
        assert state.is_failed()
        assert "'management' runs Poolkeeper itself" in state.message
    state = await ask("pause", "managemen?")
    assert state.message.startswith("Nothing to do: management: work pool 'management' runs Poolkeeper itself")
    assert rest.read("/work_pools/management") == before


async def test_several_pools_need_a_limit_that_allows_so_many(rest: Rest) -> None:
    prefix = unique("fleet")
    places = [Place(rest, f"{prefix}-{letter}") for letter in "ab"]
    state = await ask("pause", f"{prefix}-*")
    assert state.is_failed()
    assert "would change 2 things; at most 1 are allowed" in state.message
    assert [fields(each, "is_paused") for each in places] == [(False,), (False,)]
    table = rest.table("pool-lifecycle-table")
    assert [row["outcome"] for row in table] == ["refused", "refused"]
    state = await ask("pause", f"{prefix}-*", limit={"max_actions": 2, "max_share": 1.0})
    assert state.type.value == "COMPLETED"
    assert [fields(each, "is_paused") for each in places] == [(True,), (True,)]


async def test_a_dry_run_changes_nothing_and_says_what_it_would_do(place: Place) -> None:
    before = place.now()
    for action, more in (("pause", {}), ("drain", {}), ("set-concurrency-limit", {"concurrency_limit": 1})):
        state = await ask(action, place.name, dry_run=True, **more)
        assert state.message.startswith("Dry run: ")
        assert {row["outcome"] for row in rows(place)} == {"planned"}
    assert (await ask("delete", place.name, dry_run=True)).message == f"Dry run: delete {place.name} (Ann: {WHY})"
    place.deployment()
    state = await ask("delete", place.name, dry_run=True)
    assert state.type.value == "COMPLETED"
    assert f"It would be refused: Work pool {place.name!r} is needed: 1 deployment" in state.message
    assert place.now() == before


async def test_what_changed_since_it_was_decided_is_left_alone(place: Place) -> None:
    async with connect() as api:
        asked = await open_question(api, Request("set-concurrency-limit", place.name, WHY, concurrency_limit=3))
        seen = await observe_lifecycle(api, asked)
        plan = asked.decide(seen).plan
        place.rest.change_pool(place.name, concurrency_limit=9)
        hands = Hands(api, asked.hand, {each.pool.name: each for each in seen}, None)
        (outcome,) = await hands.act(plan.actions)
        assert outcome.result is Result.SKIPPED
        assert fields(place, "concurrency_limit") == (9,)
        place.delete()
        (outcome,) = await hands.act(plan.actions)
        assert (outcome.result, outcome.detail) == (Result.DONE, "already gone")


async def test_no_name_and_no_reason_can_inject_and_no_secret_is_told(rest: Rest) -> None:
    variables = {"properties": {"password": {"type": "string", "default": CANARY}}}
    template = {"variables": variables, "job_configuration": {"password": "{{ password }}"}}
    place = Place(rest, "a | `c` [x](y) **z**", base_job_template=template)
    reason = "| a | b |\n|---|---|\n<img src=x> ] [Poolkeeper: x"
    state = await ask("pause", place.name, reason=reason, actor="**Ann** | ]")
    assert state.type.value == "COMPLETED"
    key = report_key("pool-lifecycle", place.name)
    text = rest.page(key)
    assert not re.search(r"(?<!\\)(<img|\*\*Ann|\]\(y)", text)
    assert "\n| a | b |" not in text
    await ask("resume", place.name)
    assert fields(place, "is_paused", "description") == (False, None)
    await ask("delete", place.name)
    told = [rest.page(key), str(rest.table(f"{key}-table")), str(state.message)]
    told += [str(rest.ask("/logs/filter", limit=200)), str(rest.ask("/events/filter", filter={})["events"])]
    assert CANARY not in "".join(told)
    state = await ask("restore", place.name)
    assert state.type.value == "COMPLETED"
    assert rest.read(place.path)["base_job_template"] == template
    place.delete()

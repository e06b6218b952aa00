"""pool-reconcile where something comes in between: killed, changed meanwhile, secrets, and what cannot be meant."""

import json
from typing import Any

import pytest

from flows.policy.bad_input import BadInput
from flows.policy.plan import Kind, Result
from flows.prefect_api.client import Api, connect
from flows.prefect_api.reconcile import read_pools_there
from tests.circuits import circuit
from tests.rest import Row
from tests.server.places import Killed, dies_before
from tests.server.yard import Yard, spec, template
from tests.strategies import CANARY

pytestmark = [pytest.mark.anyio, pytest.mark.long]

QUEUES = [{"name": "b", "priority": 1}, {"name": "default", "priority": 2, "description": ""}, {"name": "a"}]


def is_ours(path: str) -> bool:
    """Whether a write is one of those that bring pools in line, and not of a report."""
    return path.startswith(("/work_pools/", "/variables/", "/block_documents/"))


async def test_killed_before_any_of_its_writes_the_next_run_completes_what_was_begun(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    while True:
        new, old = yard.name(), yard.pool(description="old", concurrency_limit=1)
        yard.write(
            spec(new, description="mine", concurrency_limit=2, queues=QUEUES),
            spec(old, description="new", concurrency_limit=2, queues=QUEUES),
        )
        with monkeypatch.context() as patch:
            done = dies_before(patch, Api, writes, is_ours)
            try:
                await yard.bring()
            except Killed:
                pass
            else:
                break
        assert len(done) == writes
        await yard.bring()
        assert (await yard.bring()).outcomes == []
        for name in (new, old):
            there = yard.there(name)
            assert (there["description"], there["concurrency_limit"]) == ("mine" if name == new else "new", 2)
            assert {each: queue["priority"] for each, queue in there["queues"].items()} == {
                "b": 1, "default": 2, "a": 3,
            }  # fmt: skip
            assert there["queues"]["default"]["description"] == ""
        assert yard.created().keys() & {new, old} == {new}
        writes += 1
    assert writes == 10, done


async def test_a_flow_that_was_killed_is_taken_up_by_the_next_one(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    name = yard.name()
    yard.write(spec(name, description="mine"))
    with monkeypatch.context() as patch:
        dies_before(patch, Api, 1, is_ours)
        with pytest.raises(Killed):
            await yard.run()
    assert yard.there(name)["description"] == f"[Poolkeeper: being created from {yard.path}]\n\nmine"
    state = await yard.run()
    assert state.type.value == "COMPLETED"
    assert yard.reasons()[name] == "its creation was begun and not finished"
    assert yard.there(name)["description"] == "mine"
    assert yard.created()[name]["id"] == yard.there(name)["id"]


async def test_what_changed_since_it_was_planned_is_left_alone(yard: Yard) -> None:
    names = {each: yard.pool(concurrency_limit=3) for each in ("theirs", "already", "gone", "noted", "queue", "free")}
    created = yard.name()
    yard.queue(names["queue"], "a", priority=5, concurrency_limit=3)
    wanted = [spec(each, concurrency_limit=5) for key, each in names.items() if key != "queue"]
    queues = [{"name": "a", "priority": 5, "concurrency_limit": 4}, {"name": "b"}]
    yard.write(*wanted, spec(names["queue"], queues=queues), spec(created))

    def others() -> None:
        yard.rest.change_pool(names["theirs"], concurrency_limit=9)
        yard.rest.change_pool(names["already"], concurrency_limit=5)
        yard.rest.delete_pool(names["gone"])
        yard.rest.change_pool(names["noted"], description="[Poolkeeper: paused by x. Lease ab12.1]", is_paused=True)
        yard.change_queue(names["queue"], "a", concurrency_limit=2)
        yard.queue(names["queue"], "b")
        yard.rest.pool(created, description="theirs")

    all_of_it = (await yard.bring(between=others)).became
    became = {key: all_of_it[each] for key, each in names.items() if each in all_of_it}
    skipped = "it changed meanwhile: it is otherwise than when this was planned"
    assert became == {
        "theirs": (Result.SKIPPED, skipped),
        "already": (Result.SKIPPED, "it is as in the spec meanwhile"),
        "gone": (Result.SKIPPED, "it is gone meanwhile; the next run creates it"),
        "noted": (Result.DONE, ""),
        "free": (Result.DONE, ""),
    }
    assert all_of_it[created][1] == "somebody else has created it meanwhile"
    assert all_of_it[f"{names['queue']}/a"][1] == skipped
    assert all_of_it[f"{names['queue']}/b"][1] == "somebody else has created it meanwhile"
    assert yard.there(names["theirs"])["concurrency_limit"] == 9
    assert yard.there(names["noted"])["description"] == "[Poolkeeper: paused by x. Lease ab12.1]"
    assert yard.there(created)["description"] == "theirs"
    assert created not in yard.created()


async def test_a_pool_that_another_has_taken_the_place_of_gets_no_queue(yard: Yard) -> None:
    name = yard.pool()

    def others() -> None:
        yard.rest.delete_pool(name)
        yard.rest.pool(name)

    (outcome,) = (await yard.bring(spec(name, queues=[{"name": "a"}]), between=others)).outcomes
    assert (outcome.result, outcome.verdict.target.kind) == (Result.SKIPPED, Kind.QUEUE)
    assert set(yard.there(name)["queues"]) == {"default"}


async def test_a_circuit_tells_that_it_is_half_open_where_its_note_was_erased(yard: Yard) -> None:
    name = yard.pool(concurrency_limit=1)
    kept = circuit("half-open", of=None).model_copy(  # type: ignore[arg-type]
        update={"id": yard.there(name)["id"], "name": name, "pool": name, "former_limit": 8}
    )
    value = kept.model_dump(mode="json") | {"phase": "half-open", "step": 2, "former_limit": 8, "probe_limit": 1}
    row = yard.rest.ask("/variables/", name=f"poolkeeper_circuit_{name}_2", value=value)
    try:
        async with connect() as api:
            there = (await read_pools_there(api, []))[name]
        assert (there.is_half_open, there.own_limit) == (True, 8)
        await yard.bring(spec(name, concurrency_limit=5))
        assert yard.there(name)["concurrency_limit"] == 1
    finally:
        yard.rest.delete(f"/variables/{row['id']}").raise_for_status()


# --- Secrets ------------------------------------------------------------------------------------------------------


def written_by_us(yard: Yard) -> str:
    """Everything that the keeper leaves for people: artifacts, logs, runs, its own events, variables."""
    events = yard.rest.ask("/events/filter", filter={"event": {"prefix": ["poolkeeper."]}, "order": "DESC"}, limit=50)
    parts: list[Any] = [
        yard.rest.ask("/artifacts/filter", sort="CREATED_DESC", limit=50),
        yard.rest.ask("/logs/filter", sort="TIMESTAMP_DESC", limit=200),
        yard.rest.ask("/flow_runs/filter", sort="START_TIME_DESC", limit=20),
        yard.rest.everything("/variables/filter"),
        events,
    ]
    return json.dumps(parts)


async def test_no_secret_of_a_spec_or_of_a_template_is_ever_told(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    secret = template(DB_PASSWORD=CANARY, URL=f"postgres://user:{CANARY}@db/x")
    there, new, wrong = yard.pool(base_job_template=secret), yard.name(), yard.name()
    other = {"inline": template(DB_PASSWORD=f"{CANARY}2", MODE="x")}
    for parameters in ({"dry_run": True}, {}, {"export": True}):
        state = await yard.run(
            spec(there, base_job_template=other), spec(new, base_job_template={"inline": secret}), **parameters
        )
        assert state.type.value == "COMPLETED"
    yard.rest.change_pool(there, base_job_template=secret)
    bad: list[Row] = [
        spec(wrong, base_job_template={"inline": {"job_configuration": {"x": CANARY}}}),
        spec(wrong, base_job_template={"default": True, "overrides": {"envv": {"DB_PASSWORD": CANARY}}}),
        spec(wrong, base_job_template={"inlin": {"DB_PASSWORD": CANARY}}),
        spec(wrong, concurrency_limit=CANARY),
    ]
    messages = []
    for each in bad:
        state = await yard.run(each)
        assert state.type.value == "FAILED"
        messages.append(state.message)
    assert CANARY not in written_by_us(yard)
    assert CANARY not in " ".join([*messages, caplog.text])
    exported = next(each for each in yard.exported()["pools"] if each["name"] == there)
    env = exported["base_job_template"]["inline"]["variables"]["properties"]["env"]["default"]
    assert env["MODE"] == "x"
    assert env["DB_PASSWORD"].startswith("[Poolkeeper: a secret was left out")


# --- What cannot be meant -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"type": "docker"}, "is of type 'process', and Prefect cannot change the type of one"),
        ({"concurrency_limit": -1}, "line 5, pools[0].concurrency_limit: Input should be greater than or equal to 0"),
        ({"queue": []}, "line 5, pools[0].queue: no such key; the nearest is 'queues'"),
        (
            {"base_job_template": {"default": True, "overrides": {"envv": {}}}},
            "overrides: the default template has no variable 'envv'; the nearest is 'env'",
        ),
        (
            {"base_job_template": {"inline": {"variables": {"type": "object"}, "job_configuration": {"a": "{{ b }}"}}}},
            "job_configuration uses what is not among the variables: b",
        ),
        ({"base_job_template": {"file": "none.json"}}, "'none.json': there is no such file"),
    ],
)
async def test_what_cannot_be_meant_is_told_with_its_line_before_anything_is_changed(
    yard: Yard, pool: dict[str, Any], words: str
) -> None:
    there, new = yard.pool(), yard.name()
    before = yard.there(there)
    with pytest.raises(BadInput) as refusal:
        await yard.bring(spec(there, **pool), spec(new))
    assert str(refusal.value).startswith(f"Spec '{yard.path}': line ")
    assert words in str(refusal.value)
    assert str(refusal.value).endswith("Nothing was changed. Correct the spec, and run again.")
    assert yard.there(there) == before
    assert not yard.exists(new)


async def test_an_unknown_worker_type_is_told_with_those_that_are_known(yard: Yard) -> None:
    state = await yard.run({"name": yard.name(), "type": "dcoker"})
    assert state.type.value == "FAILED"
    assert "line 4, pools[0].type: unknown worker type 'dcoker'. The nearest is 'docker'. There are: " in state.message


async def test_a_spec_that_is_not_there_is_an_error_and_an_empty_one_means_nothing_even_with_prune(yard: Yard) -> None:
    name = yard.name()
    await yard.bring(spec(name))
    yard.path.unlink()
    state = await yard.run(prune=True)
    assert (state.type.value, "there is no such file" in state.message) == ("FAILED", True)
    for empty in ("", "version: 1\npools: []\n"):
        yard.path.write_text(empty)
        state = await yard.run(prune=True)
        assert state.type.value == "COMPLETED"
        assert "names no work pool, which means nothing" in state.message
    assert yard.exists(name)

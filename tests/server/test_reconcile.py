"""pool-reconcile on a real server: plan, apply, twice, and what it leaves alone."""

import asyncio
import random
from typing import Any

import pytest

from flows.policy.reconcile.queues import first_free, pushed
from flows.prefect_api.client import Api, Refused
from tests.rest import wait_for
from tests.server.yard import Yard, spec, template

pytestmark = pytest.mark.anyio


async def test_a_dry_run_creates_and_changes_nothing_and_says_what_it_would_do(yard: Yard) -> None:
    there, missing = yard.pool(concurrency_limit=3, description="old"), yard.name()
    before = yard.there(there)
    state = await yard.run(
        spec(there, concurrency_limit=5, description="new", queues=[{"name": "fast", "priority": 1}]),
        spec(missing),
        dry_run=True,
    )
    assert (state.type.value, yard.there(there), yard.exists(missing)) == ("COMPLETED", before, False)
    assert state.message.startswith("Dry run: 2 of 2 work pools in ")
    assert "change 1 work pool" in state.message
    assert yard.verbs() == {
        there: ("change", "planned"),
        f"{there}/fast": ("create", "planned"),
        f"{there}/default": ("leave", ""),
        missing: ("create", "planned"),
        f"{missing}/default": ("leave", ""),
    }
    assert yard.reasons()[there] == "concurrency limit 3 → 5; description 'old' → 'new'"
    assert "| concurrency limit | 3 | 5 | planned |" in yard.page()
    assert yard.created() == {}


async def test_applied_once_all_is_as_written_and_applied_twice_nothing_more_is_changed(yard: Yard) -> None:
    new, old = yard.name(), yard.pool(concurrency_limit=3, base_job_template=template(MODE="slow"))
    yard.queue(old, "last", priority=7)
    pools = [
        spec(
            new,
            description="Nightly",
            concurrency_limit=4,
            queues=[
                {"name": "fast", "priority": 1, "concurrency_limit": 2, "description": "first"},
                {"name": "default", "priority": 2},
            ],
        ),
        spec(
            old,
            concurrency_limit=None,
            queues=[{"name": "last", "priority": 1, "concurrency_limit": 0}],
            base_job_template={"inline": template(MODE="fast")},
        ),
    ]
    state = await yard.run(*pools)
    assert state.type.value == "COMPLETED", state.message
    made, changed = yard.there(new), yard.there(old)
    assert (made["description"], made["concurrency_limit"], made["is_paused"]) == ("Nightly", 4, False)
    assert made["base_job_template"]["job_configuration"]["command"] == "{{ command }}"
    assert {name: each["priority"] for name, each in made["queues"].items()} == {"fast": 1, "default": 2}
    assert (made["queues"]["fast"]["concurrency_limit"], made["queues"]["fast"]["description"]) == (2, "first")
    assert made["queues"]["default"]["description"] == "The work pool's default queue."
    assert (changed["concurrency_limit"], changed["base_job_template"]) == (None, template(MODE="fast"))
    assert changed["queues"]["last"]["priority"] == 1
    assert changed["queues"]["last"]["concurrency_limit"] == 0
    touched = yard.touched_at(new), yard.touched_at(old)
    again = await yard.run(*pools)
    assert again.message == f"No drift: 2 work pools as in {yard.path}"
    assert (yard.there(new), yard.there(old)) == (made, changed)
    assert (yard.touched_at(new), yard.touched_at(old)) == touched
    assert {outcome for _, outcome in yard.verbs().values()} == {""}


async def test_priorities_move_each_other_as_is_reckoned_with(yard: Yard) -> None:
    name, chance = yard.pool(), random.Random(0)
    reckoned = {"default": 1}
    for step in range(25):
        queue, asked = chance.choice(["default", "a", "b", "c", "d"]), chance.choice([None, 1, 2, 3, 4, 7])
        if queue not in reckoned:
            yard.queue(name, queue, **({} if asked is None else {"priority": asked}))
            reckoned = pushed(reckoned, queue, asked or first_free(reckoned))
        elif asked is not None:
            yard.change_queue(name, queue, priority=asked)
            reckoned = pushed(reckoned, queue, asked)
        there = {each: row["priority"] for each, row in yard.there(name)["queues"].items()}
        assert there == reckoned, step


async def test_each_change_tells_of_itself_once_with_what_was_and_what_is(yard: Yard) -> None:
    new, old = yard.name(), yard.pool(concurrency_limit=3)
    await yard.run(spec(new), spec(old, concurrency_limit=5, queues=[{"name": "fast"}]))
    (changed,) = wait_for(lambda: yard.events(old, "poolkeeper.pool.changed"), what="the event of the change")
    assert changed["payload"]["concurrency_limit_before"] == "3"
    assert changed["payload"]["concurrency_limit_after"] == "5"
    (created,) = wait_for(lambda: yard.events(new, "poolkeeper.pool.created"), what="the event of the new pool")
    assert created["resource"]["prefect.resource.id"] == f"prefect.work-pool.{yard.there(new)['id']}"
    (queue,) = wait_for(lambda: yard.events(f"{old}/fast", "poolkeeper.queue.created"), what="that of the queue")
    assert queue["resource"]["prefect.resource.id"].endswith(yard.there(old)["queues"]["fast"]["id"])
    assert {row["id"] for row in yard.rows() if row["target"] == new} == {yard.there(new)["id"]}


async def test_what_the_spec_does_not_name_is_not_looked_at(yard: Yard) -> None:
    name = yard.pool(concurrency_limit=3, description="mine", is_paused=True, base_job_template=template(A="b"))
    yard.queue(name, "other", concurrency_limit=1)
    before = yard.there(name)
    brought = await yard.bring(spec(name), default_concurrency_limit=9)
    assert brought.outcomes == []
    assert yard.there(name) == before


async def test_the_usual_limit_is_for_those_that_name_none_and_have_none(yard: Yard) -> None:
    without, own, said = yard.pool(), yard.pool(concurrency_limit=3), yard.pool()
    await yard.bring(spec(without), spec(own), spec(said, concurrency_limit=None), default_concurrency_limit=9)
    limits = [yard.there(each)["concurrency_limit"] for each in (without, own, said)]
    assert limits == [9, 3, None]


async def test_whether_a_pool_is_paused_is_set_only_where_the_spec_says_so(yard: Yard) -> None:
    silent, resumed, paused = (yard.pool(is_paused=each) for each in (True, True, False))
    await yard.bring(
        spec(silent, concurrency_limit=5),
        spec(resumed, concurrency_limit=5, is_paused=False),
        spec(paused, concurrency_limit=5, is_paused=True),
    )
    assert [yard.there(each)["is_paused"] for each in (silent, resumed, paused)] == [True, False, True]
    assert {yard.there(each)["concurrency_limit"] for each in (silent, resumed, paused)} == {5}


async def test_a_pool_is_changed_in_one_write(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    name = yard.pool(concurrency_limit=3, description="old", is_paused=True)
    write, written = Api.write, []

    async def counted(self: Api, method: Any, path: str, body: Any = None) -> Any:
        written.append((method, sorted(body)))
        return await write(self, method, path, body)

    monkeypatch.setattr(Api, "write", counted)
    await yard.bring(spec(name, concurrency_limit=5, description="new", is_paused=False))
    assert written == [("PATCH", ["concurrency_limit", "description", "is_paused"])]


OPEN = "[Poolkeeper: paused by pool-auto-pause on 2026-01-01 00:00:00 UTC until x. Lease ab12.1]"
TRYING = "[Poolkeeper: trying again since x; 3 runs decide. Former limit: 5. Lease ab12.2]"
IDLE = "[Poolkeeper: idle, marked 2026-01-01 00:00:00 UTC. Deleted after 2026-01-08 00:00:00 UTC unless it is used.]"


@pytest.mark.parametrize("note", [OPEN, TRYING, IDLE], ids=["open", "trying", "idle"])
async def test_the_keepers_notes_are_no_difference_and_stay_in_front(yard: Yard, note: str) -> None:
    name = yard.pool(description=f"{note}\n\nmine", concurrency_limit=5)
    assert (await yard.bring(spec(name, description="mine"))).outcomes == []
    await yard.bring(spec(name, description="ours"))
    assert yard.there(name)["description"] == f"{note}\n\nours"
    await yard.bring(spec(name, description=None))
    assert yard.there(name)["description"] == note


async def test_while_a_few_runs_try_the_limit_is_left_alone(yard: Yard) -> None:
    name = yard.pool(description=f"{TRYING}\n\nmine", concurrency_limit=1)
    assert (await yard.bring(spec(name, concurrency_limit=5))).outcomes == []
    brought = await yard.bring(spec(name, concurrency_limit=7, description="ours"))
    there = yard.there(name)
    assert (there["concurrency_limit"], there["description"]) == (1, f"{TRYING}\n\nours")
    assert "its concurrency limit is left alone while pool-auto-pause lets a few runs try" in brought.reasons[name]


async def test_a_pause_of_the_keeper_is_left_to_it(yard: Yard) -> None:
    name = yard.pool(description=OPEN, is_paused=True)
    brought = await yard.bring(spec(name, is_paused=False))
    assert yard.there(name)["is_paused"]
    assert "is left alone while a note of Poolkeeper" in brought.reasons[name]


async def test_the_management_pool_is_never_touched(yard: Yard) -> None:
    if not yard.exists("management"):
        yard.pool("management")
        yard.named.append("management")
    before = yard.there("management")
    wish = spec("management", type="docker", concurrency_limit=99, description="mine", queues=[{"name": "x"}])
    brought = await yard.bring(wish)
    assert brought.outcomes == []
    assert yard.there("management") == before
    assert "runs Poolkeeper itself" in brought.reasons["management"]


async def test_a_protected_pool_is_created_and_then_only_looked_at(yard: Yard) -> None:
    name = yard.name()
    await yard.bring(spec(name, protected=True, concurrency_limit=5))
    assert yard.created()[name]["protected"]
    before = yard.there(name)
    wish = spec(name, protected=True, concurrency_limit=7, queues=[{"name": "default", "concurrency_limit": 1}])
    state = await yard.run(wish)
    assert yard.there(name) == before
    assert state.message.startswith("1 of 1 work pool in ")
    assert yard.reasons()[name] == "protected in the spec, so it is left as it is: concurrency limit 5 → 7"


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"max_actions": 1}, "would change 2 things"), ({"max_actions": 9, "max_share": 0}, "would change 1 of ")],
)
async def test_over_its_limit_nothing_is_done(yard: Yard, limit: dict[str, Any], words: str) -> None:
    for _ in range(5):
        yard.pool()
    name, missing = yard.pool(concurrency_limit=3), yard.name()
    state = await yard.run(spec(name, concurrency_limit=5), spec(missing), limit=limit)
    assert state.type.value == "FAILED"
    assert words in state.message
    assert yard.there(name)["concurrency_limit"] == 3
    assert not yard.exists(missing)
    assert {yard.verbs()[each][1] for each in (name, missing)} == {"refused"}


async def test_what_is_created_takes_nothing_from_what_is_there_and_counts_by_number_alone(yard: Yard) -> None:
    for _ in range(5):
        yard.pool()
    names = [yard.name() for _ in range(3)]
    state = await yard.run(*(spec(name) for name in names), limit={"max_actions": 3, "max_share": 0})
    assert state.type.value == "COMPLETED"
    assert all(map(yard.exists, names))


async def test_one_failure_does_not_stop_the_rest(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = yard.name("a"), yard.name("b")
    write = Api.write

    async def refusing(self: Api, method: Any, path: str, body: Any = None) -> Any:
        if path == "/work_pools/" and body["name"] == bad:
            raise Refused("not that one")
        return await write(self, method, path, body)

    with monkeypatch.context() as patch:
        patch.setattr(Api, "write", refusing)
        state = await yard.run(spec(bad, queues=[{"name": "x"}]), spec(good))
    assert state.type.value == "FAILED"
    assert yard.verbs()[bad] == ("create", "failed")
    assert yard.verbs()[f"{bad}/x"] == ("create", "skipped")
    assert yard.verbs()[good] == ("create", "done")
    assert "3 actions: 1 done, 1 skipped, 1 failed" in state.message
    assert (await yard.run()).type.value == "COMPLETED"
    assert set(yard.there(bad)["queues"]) == {"default", "x"}


async def test_two_at_once_end_as_written_and_fail_nothing(yard: Yard) -> None:
    old = yard.pool(concurrency_limit=3)
    names = [yard.name() for _ in range(4)]
    queues = [{"name": "b", "priority": 1}, {"name": "a", "priority": 2}, {"name": "default", "priority": 3}]
    pools = [spec(each, concurrency_limit=5, queues=queues) for each in (old, *names)]
    states = await asyncio.gather(yard.run(*pools), yard.run())
    assert {state.type.value for state in states} == {"COMPLETED"}
    again = await yard.run()
    assert again.message.startswith("No drift"), yard.reasons()
    for each in (old, *names):
        there = yard.there(each)
        assert {name: queue["priority"] for name, queue in there["queues"].items()} == {"b": 1, "a": 2, "default": 3}
        assert "Poolkeeper" not in (there["description"] or "")


async def test_new_drift_makes_one_event_and_the_same_drift_none(yard: Yard) -> None:
    name, missing = yard.pool(concurrency_limit=3), yard.name()
    yard.write(spec(name, concurrency_limit=5), spec(missing))
    for _ in range(2):
        await yard.run(dry_run=True)
    (first,) = wait_for(lambda: yard.events(name, "poolkeeper.pool.drifted"), what="the event of the drift")
    assert first["payload"]["reason"] == "concurrency limit 3 → 5"
    (_,) = wait_for(lambda: yard.events(missing, "poolkeeper.pool.drifted"), what="the event of the missing one")
    yard.rest.change_pool(name, concurrency_limit=4)
    await yard.run(dry_run=True)
    wait_for(lambda: len(yard.events(name, "poolkeeper.pool.drifted")) == 2, what="an event of the other drift")
    await yard.run()
    yard.rest.change_pool(name, concurrency_limit=4)
    await yard.run(dry_run=True)
    wait_for(lambda: len(yard.events(name, "poolkeeper.pool.drifted")) == 3, what="an event of what drifted again")
    assert len(yard.events(missing, "poolkeeper.pool.drifted")) == 1

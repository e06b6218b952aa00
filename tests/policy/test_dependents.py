from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.dependents import (
    DependentRun,
    Dependents,
    decide_dependents,
    refusal,
    still_needed,
)
from flows.policy.lifecycle.request import DeleteOptions
from flows.policy.mentions import naming
from flows.policy.plan import Kind, Verb
from tests.builders import NOW, ago, coming, deployment, worker
from tests.circuits import pool_target

POOL = pool_target()
NO_ANSWER = DeleteOptions()
MOVE, ARCHIVE = DeleteOptions(move_deployments_to="other"), DeleteOptions(archive_deployments=True)
EVERY_ANSWER = DeleteOptions(archive_deployments=True, cancel_runs=True, ignore_automations=True)


def waits(name: str = "owl", **changed: Any) -> DependentRun:
    """A run that a schedule made for later."""
    usual = DependentRun(
        f"id-{name}", name, "id-flow/nightly", "SCHEDULED", "Scheduled", NOW, coming(hours=1), auto_scheduled=True
    )
    return replace(usual, **changed)


deployments = st.lists(
    st.builds(deployment, st.sampled_from(["f/a", "f/b", "f/c"]), paused=st.booleans(), pool=st.just("etl")),
    max_size=3,
    unique_by=lambda each: each.id,
)
runs = st.lists(
    st.builds(
        waits,
        st.sampled_from("abcdef"),
        deployment_id=st.sampled_from(["id-f/a", "id-f/b", None]),
        state_type=st.sampled_from(["SCHEDULED", "RUNNING", "PAUSED"]),
        state_name=st.sampled_from(["Scheduled", "Late", "AwaitingConcurrencySlot"]),
        due_at=st.sampled_from([None, ago(hours=1), coming(hours=1)]),
        auto_scheduled=st.booleans(),
        starts=st.integers(0, 1),
    ),
    max_size=5,
    unique_by=lambda each: each.id,
)
workers = st.lists(
    st.builds(worker, st.sampled_from("xyz"), last_heartbeat_at=st.sampled_from([ago(seconds=5), ago(days=1), None])),
    max_size=3,
    unique_by=lambda each: each.name,
)
dependents = st.builds(
    Dependents,
    deployments.map(tuple),
    runs.map(tuple),
    workers.map(tuple),
    st.dictionaries(st.sampled_from("12"), st.just("names it")),
)
options = st.builds(
    DeleteOptions,
    move_deployments_to=st.sampled_from(["", "other"]),
    archive_deployments=st.booleans(),
    cancel_runs=st.booleans(),
    ignore_automations=st.booleans(),
)


@given(dependents, options)
def test_everything_has_a_verdict_or_is_counted(there: Dependents, answers: DeleteOptions) -> None:
    ending = decide_dependents(POOL, there, answers, NOW)
    online = [each for each in there.workers if each.is_online(NOW)]
    looked_at = len(there.deployments) + len(there.runs) + len(online) + len(there.automations)
    assert len(ending.verdicts) + sum(ending.left.values()) == looked_at
    assert all(each in ending.verdicts for each in ending.obstacles)
    assert all(each.verb is Verb.LEAVE for each in ending.obstacles)


@given(dependents, options)
def test_an_online_worker_has_no_answer_and_everything_else_has_one(there: Dependents, answers: DeleteOptions) -> None:
    online = {f"etl/{each.name}" for each in there.workers if each.is_online(NOW)}
    for chosen in (answers, EVERY_ANSWER):
        obstacles = decide_dependents(POOL, there, chosen, NOW).obstacles
        assert {each.target.name for each in obstacles if each.target.kind is Kind.WORKER} == online
    kinds = {each.target.kind for each in decide_dependents(POOL, there, EVERY_ANSWER, NOW).obstacles}
    assert kinds <= {Kind.WORKER}


@given(dependents)
def test_without_an_answer_whatever_depends_on_it_is_in_the_way(there: Dependents) -> None:
    ending = decide_dependents(POOL, there, NO_ANSWER, NOW)
    assert len(ending.obstacles) == len(ending.verdicts)
    assert not ending.left
    assert bool(refusal({"etl": ending.obstacles})) == bool(ending.verdicts)


@given(dependents, options)
def test_a_run_is_left_to_prefect_only_where_its_deployment_changes(there: Dependents, answers: DeleteOptions) -> None:
    changed = {
        each.target.id
        for each in decide_dependents(POOL, there, answers, NOW).verdicts
        if each.target.kind is Kind.DEPLOYMENT and each.verb is not Verb.LEAVE
    }
    anew = [run for run in there.runs if run.deployment_id in changed and run.is_made_anew(NOW)]
    assert sum(decide_dependents(POOL, there, answers, NOW).left.values()) == len(anew)


@pytest.mark.parametrize(
    "changed",
    [
        {"auto_scheduled": False},
        {"starts": 1},
        {"state_type": "RUNNING"},
        {"state_name": "AwaitingConcurrencySlot"},
        {"due_at": ago(minutes=1)},
        {"due_at": NOW},
    ],
)
def test_what_prefect_would_not_delete_is_in_the_way(changed: dict[str, Any]) -> None:
    assert waits().is_made_anew(NOW)
    assert not waits(**changed).is_made_anew(NOW)
    there = Dependents((deployment(),), (waits(**changed),))
    (obstacle,) = decide_dependents(POOL, there, MOVE, NOW).obstacles
    assert obstacle.target.name == "owl"


@pytest.mark.parametrize(("answers", "verb"), [(MOVE, Verb.CHANGE), (ARCHIVE, Verb.PAUSE), (NO_ANSWER, Verb.LEAVE)])
def test_what_becomes_of_a_deployment_is_what_was_answered(answers: DeleteOptions, verb: Verb) -> None:
    (own,) = decide_dependents(POOL, Dependents((deployment(),)), answers, NOW).verdicts
    assert (own.verb, own.numbers["active_schedules"]) == (verb, 1)
    assert "1 active schedule" in own.reason


@pytest.mark.parametrize(
    ("there", "answers", "archived", "words"),
    [
        (Dependents(), NO_ANSWER, (), ""),
        (Dependents((deployment(paused=True),)), ARCHIVE, ("id-flow/nightly",), ""),
        (Dependents((deployment(paused=True),)), ARCHIVE, (), "1 deployment (flow/nightly)"),
        (Dependents((deployment(),)), ARCHIVE, ("id-flow/nightly",), "1 deployment (flow/nightly)"),
        (Dependents((deployment(paused=True),)), MOVE, ("id-flow/nightly",), "1 deployment (flow/nightly)"),
        (Dependents(runs=(waits(),)), EVERY_ANSWER, (), "1 run not ended (owl)"),
        (Dependents(runs=(waits(), waits("elk"))), NO_ANSWER, (), "2 runs not ended (owl, elk)"),
        (Dependents(workers=(worker(),)), EVERY_ANSWER, (), "1 online worker (etl/worker-1)"),
        (Dependents(automations={"1": "names it"}), NO_ANSWER, (), "1 automation (names it)"),
        (Dependents(automations={"1": "names it"}), EVERY_ANSWER, (), ""),
    ],
)
def test_what_still_depends_on_it_at_the_end_keeps_it(
    there: Dependents, answers: DeleteOptions, archived: Sequence[str], words: str
) -> None:
    assert still_needed(POOL, there, answers, archived, NOW + timedelta(seconds=1)) == words


def test_a_refusal_says_how_to_go_on() -> None:
    there = Dependents((deployment(),), workers=(worker(),))
    words = refusal({"etl": decide_dependents(POOL, there, NO_ANSWER, NOW).obstacles, "ops": ()})
    assert words == (
        "Work pool 'etl' is needed: 1 online worker (etl/worker-1), 1 deployment (flow/nightly). Nothing was changed. "
        "To delete it, stop the workers, which would make the work pool again; say delete.move_deployments_to or "
        "delete.archive_deployments."
    )
    assert refusal({"ops": ()}) == ""


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"match": {"prefect.resource.name": "etl"}}, True),
        ({"match": {"prefect.resource.name": "!etl"}}, True),
        ({"match": {"prefect.resource.id": ["prefect.work-pool.0-1"]}}, True),
        ([{"parameters": {"pools": ["ops", "etl"]}}], True),
        ({"body": "the pool etl has failed."}, True),
        ({"match": {"prefect.resource.name": ["etl-2", "my-etl", "etl-*", "*"]}}, False),
        ({"etl": "a key"}, False),
        (None, False),
        (3, False),
    ],
)
def test_an_automation_names_a_pool_by_its_name_or_id_as_a_word_of_its_own(part: object, named: bool) -> None:
    assert naming(["etl", "0-1"])(part) == named


def test_a_name_is_no_pattern() -> None:
    assert naming(["a.b|c"])("a.b|c")
    assert not naming(["a.b|c"])("axb")

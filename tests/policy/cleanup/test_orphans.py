from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.cleanup.detached import (
    FormerPool,
    LooseDeployment,
    OrphanFacts,
    OrphanRun,
    doubt,
    obstacle,
    queue_for,
)
from flows.policy.cleanup.kinds import Scope
from flows.policy.cleanup.orphans import decide_orphaned_deployments, decide_orphaned_runs
from flows.policy.cleanup.retention import Retention
from flows.policy.facts import PoolFacts
from flows.policy.plan import Kind, Target, Verb
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from tests.builders import NOW, ago, coming, pool

MOMENT = timedelta(microseconds=1)


def scope(*pools: PoolFacts, asked: str = "*", exclude: Sequence[str] = (), **protected: Any) -> Scope:
    selection = select_pools([asked], exclude, [each.name for each in pools] + list(exclude))
    chosen = tuple(each for each in pools if each.name in selection.names)
    return Scope(selection, chosen, Retention(), Protection(**protected), NOW)


def former(**changed: Any) -> FormerPool:
    """The pool `etl`, deleted two hours ago."""
    usual = FormerPool("etl", "process", "default", seen_at=ago(days=1), ended_at=ago(hours=2))
    return replace(usual, **changed)


def loose(name: str = "flow/nightly", **changed: Any) -> LooseDeployment:
    """A deployment that certainly was in the pool `etl`."""
    usual = LooseDeployment(
        target=Target(Kind.DEPLOYMENT, name, f"id-{name}"),
        created_at=ago(days=30),
        updated_at=ago(days=20),
        last_polled_at=ago(hours=2),
        former=former(),
    )
    return replace(usual, **changed)


def orphan(name: str = "owl", *, of_pool: str | None = None, **changed: Any) -> OrphanRun:
    """A late run of `flow/nightly`, which lost its pool."""
    usual = OrphanRun(
        target=Target(Kind.RUN, name, f"id-{name}", of_pool),
        deployment_id="id-flow/nightly",
        cause="detached",
        state_id="1",
        state_name="Late",
        due_at=ago(hours=1),
        auto_scheduled=True,
    )
    return replace(usual, **changed)


def verb(run: OrphanRun, deployment: LooseDeployment | None = None, within: Scope | None = None) -> Verb:
    facts = OrphanFacts((deployment or loose(),), (run,))
    (verdict,) = decide_orphaned_runs(facts, within or scope()).verdicts
    return verdict.verb


def test_a_deployment_goes_back_to_the_queue_it_had_where_that_is_there_again() -> None:
    deployment = loose(former=former(queue="fast"))
    facts = OrphanFacts((deployment,), queues={"etl": frozenset({"default", "fast"})})
    (verdict,) = decide_orphaned_deployments(facts, scope(pool())).verdicts
    assert verdict.verb is Verb.CHANGE
    assert verdict.reason == "its work pool 'etl' is there again; it goes to its queue 'fast'"
    assert queue_for(deployment, facts) == "fast"
    assert queue_for(deployment, OrphanFacts(queues={"etl": frozenset({"default"})})) is None


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (scope(), "'etl' is gone: create that again"),
        (scope(pool(type="docker")), "was of type process, now one of type docker"),
        (scope(pool("other"), exclude=["etl"]), "not one that may be touched"),
        (scope(pool(), pools=frozenset({"etl"})), "not one that may be touched"),
        (scope(pool(), deployment_ids=frozenset({"id-flow/nightly"})), "is Poolkeeper's own"),
    ],
)
def test_a_deployment_that_cannot_go_back_is_reported_with_the_reason(within: Scope, words: str) -> None:
    (verdict,) = decide_orphaned_deployments(OrphanFacts((loose(),)), within).verdicts
    assert verdict.verb is Verb.LEAVE
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"last_polled_at": ago(seconds=59)}, "a process serves it"),
        ({"updated_at": ago(seconds=59)}, "changed just now"),
        ({"former": None}, "nothing tells that it ever had a work pool"),
        ({"former": None, "queue": "fast"}, "may have served it since"),
        ({"former": former(left=True)}, "somebody took it out"),
        ({"former": former(ended_at=None), "updated_at": ago(hours=23)}, "has been changed since"),
        ({"last_polled_at": ago(hours=1)}, "has served it since"),
    ],
)
def test_nothing_is_done_about_a_deployment_that_may_be_served(changed: dict[str, Any], words: str) -> None:
    deployment = loose(**changed)
    assert words in doubt(deployment, NOW)
    found = decide_orphaned_deployments(OrphanFacts((deployment,)), scope(pool()))
    assert all(verdict.verb is Verb.LEAVE and words in verdict.reason for verdict in found.verdicts)
    assert verb(orphan(), deployment) is Verb.LEAVE


@pytest.mark.parametrize(
    "changed",
    [
        {"last_polled_at": None},
        {"last_polled_at": ago(hours=2) + timedelta(seconds=5)},
        {"updated_at": ago(minutes=5)},
        {"former": former(ended_at=None)},
        {"former": None, "queue": "fast", "last_polled_at": None},
    ],
)
def test_a_deployment_is_detached_where_everything_that_is_known_says_so(changed: dict[str, Any]) -> None:
    assert doubt(loose(**changed), NOW) == ""
    assert verb(orphan(), loose(**changed)) is Verb.CANCEL


def test_a_served_deployment_is_counted_and_what_was_not_read_is_told() -> None:
    served = loose(last_polled_at=NOW, scheduled_runs=3)
    facts = OrphanFacts((served,), unread_deployments=4, unread_runs=5)
    found = decide_orphaned_deployments(facts, scope())
    assert (found.verdicts, found.left) == ((), {"served by a process": 1, "not looked at, too many": 4})
    left = {"a process may serve their deployment": 3, "not looked at, too many": 5}
    assert decide_orphaned_runs(facts, scope()).left == left


@pytest.mark.parametrize("by_schedule", [True, False])
@pytest.mark.parametrize("state", ["Scheduled", "Late", "AwaitingConcurrencySlot"])
@pytest.mark.parametrize("due_at", [ago(days=9), ago(hours=1), coming(hours=1)])
def test_every_run_that_never_started_is_cancelled(by_schedule: bool, state: str, due_at: Any) -> None:
    assert verb(orphan(auto_scheduled=by_schedule, state_name=state, due_at=due_at)) is Verb.CANCEL


@pytest.mark.parametrize(
    "changed",
    [
        {"tags": frozenset({"keep", "x"})},
        {"starts": 1, "state_name": "AwaitingRetry"},
        {"state_name": "Resuming"},
        {"cause": "lost"},
        {"cause": "gone", "of_pool": "other"},
    ],
)
def test_a_run_that_somebody_may_want_or_go_on_with_is_left(changed: dict[str, Any]) -> None:
    assert verb(orphan(**changed)) is Verb.LEAVE


def test_a_run_whose_retry_is_due_since_long_is_cancelled() -> None:
    assert verb(orphan(starts=1, state_name="AwaitingRetry", due_at=ago(hours=24))) is Verb.CANCEL
    assert verb(orphan(starts=1, state_name="AwaitingRetry", due_at=ago(hours=24) + MOMENT)) is Verb.LEAVE


def test_a_protected_run_and_those_of_poolkeeper_itself_are_left() -> None:
    assert verb(orphan(), within=scope(run_ids=frozenset({"id-owl"}))) is Verb.LEAVE
    assert verb(orphan(), within=scope(deployment_ids=frozenset({"id-flow/nightly"}))) is Verb.LEAVE
    gone = orphan(cause="gone", of_pool="etl")
    assert verb(gone, within=scope(pool())) is Verb.CANCEL
    assert verb(gone, within=scope(pool(), pools=frozenset({"etl"}))) is Verb.LEAVE


def test_a_run_to_come_is_left_exactly_where_its_deployment_can_go_back() -> None:
    run = orphan(state_name="Scheduled", due_at=coming(hours=1))
    assert verb(run, within=scope(pool())) is Verb.LEAVE
    assert verb(replace(run, auto_scheduled=False), within=scope(pool())) is Verb.CANCEL
    assert verb(run, within=scope(pool(type="docker"))) is Verb.CANCEL


moments = st.sampled_from([NOW, *(ago(**{unit: n}) for unit in ("seconds", "hours", "days") for n in (1, 30))])
names = st.sampled_from(["etl", "other", "own"])
formers = st.builds(
    FormerPool,
    name=names,
    type=st.sampled_from([None, "process", "docker"]),
    queue=st.sampled_from([None, "default", "fast"]),
    seen_at=moments,
    ended_at=st.none() | moments,
    left=st.booleans(),
)
ids = st.sampled_from("abcd")
deployments = st.builds(
    LooseDeployment,
    target=ids.map(lambda id_: Target(Kind.DEPLOYMENT, f"flow/{id_}", id_)),
    created_at=moments,
    updated_at=moments,
    last_polled_at=st.none() | moments,
    queue=st.sampled_from([None, "fast"]),
    former=st.none() | formers,
    scheduled_runs=st.integers(0, 3),
)
runs = st.builds(
    OrphanRun,
    target=st.builds(Target, st.just(Kind.RUN), st.just("owl"), st.integers(0, 99).map(str), st.none() | names),
    deployment_id=ids,
    cause=st.sampled_from(["detached", "gone", "lost"]),
    state_id=st.just("1"),
    state_name=st.sampled_from(["Scheduled", "Late", "AwaitingRetry", "Resuming"]),
    due_at=moments,
    auto_scheduled=st.booleans(),
    starts=st.integers(0, 1),
    queue=st.sampled_from([None, "fast"]),
    tags=st.sampled_from([frozenset(), frozenset({"keep"})]),
)
observed = st.builds(
    OrphanFacts,
    deployments=st.lists(deployments, max_size=4, unique_by=lambda each: each.target.id).map(tuple),
    runs=st.lists(runs, max_size=6, unique_by=lambda each: each.target.id).map(tuple),
)
scopes = st.sampled_from(
    [scope(pool(), pool("own"), pools=frozenset({"own"})), scope(pool("other")), scope(pool(), deployment_ids="a")]
)


@given(observed, scopes)
def test_there_is_one_verdict_for_each_run_and_each_deployment_that_is_not_served(
    facts: OrphanFacts, within: Scope
) -> None:
    of_runs, of_deployments = decide_orphaned_runs(facts, within), decide_orphaned_deployments(facts, within)
    assert {each.target for each in of_runs.verdicts} == {run.target for run in facts.runs}
    assert len(of_deployments.verdicts) + of_deployments.left.get("served by a process", 0) == len(facts.deployments)
    assert all(each.reason for each in (*of_runs.verdicts, *of_deployments.verdicts))


@given(observed, scopes)
def test_only_what_is_certain_is_acted_on_and_never_what_is_protected(facts: OrphanFacts, within: Scope) -> None:
    known = {each.target.id: each for each in facts.deployments}
    for verdict in decide_orphaned_deployments(facts, within).verdicts:
        deployment = known[verdict.target.id]
        certain = not doubt(deployment, NOW) and not obstacle(deployment, within)
        assert (verdict.verb is Verb.CHANGE) == (certain and not within.protection.reason(verdict.target))
    seen = {run.target.id: run for run in facts.runs}
    for verdict in decide_orphaned_runs(facts, within).verdicts:
        run = seen[verdict.target.id]
        if verdict.verb is Verb.LEAVE:
            continue
        assert verdict.verb is Verb.CANCEL
        assert "keep" not in run.tags
        assert run.deployment_id not in within.protection.deployment_ids
        assert run.target.pool is None or run.target.pool in within.names
        assert run.cause != "detached" or not doubt(known[run.deployment_id], NOW)


@given(observed)
def test_nothing_is_decided_where_only_some_work_pools_are_asked_for(facts: OrphanFacts) -> None:
    some = scope(pool(), asked="etl")
    for found in (decide_orphaned_runs(facts, some), decide_orphaned_deployments(facts, some)):
        assert (found.verdicts, found.left) == ((), {})


@given(observed, scopes)
def test_the_oldest_goes_first(facts: OrphanFacts, within: Scope) -> None:
    due = {run.target.id: run.due_at for run in facts.runs}
    order = [due[each.target.id] for each in decide_orphaned_runs(facts, within).verdicts]
    made = {each.target.id: each.created_at for each in facts.deployments}
    ages = [made[each.target.id] for each in decide_orphaned_deployments(facts, within).verdicts]
    assert (order, ages) == (sorted(order), sorted(ages))

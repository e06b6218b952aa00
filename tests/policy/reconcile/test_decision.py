"""What a spec makes of what is there, whatever both are."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from flows.policy.plan import ActionLimit, Kind, UnsafePlan, Verb
from flows.policy.pool_spec import PoolSpec, QueueSpec
from flows.policy.reconcile.decision import decide_reconcile
from flows.policy.reconcile.facts import Created, ReconcileFacts, prunable
from flows.policy.reconcile.memory import to_forget, to_remember
from flows.policy.reconcile.notes import NOTE, is_held, owners
from tests.specs import (
    DEFAULT,
    MANAGEMENT,
    OTHER,
    PATH,
    any_facts,
    carried_out,
    created,
    decided_again,
    facts,
    queue,
    spec,
    there,
)


def reasons(observed: ReconcileFacts) -> dict[str, tuple[Verb, str]]:
    return {each.target.name: (each.verb, each.reason) for each in decide_reconcile(observed).plan.verdicts}


# --- Whatever is written and whatever is there --------------------------------------------------------------------


@given(any_facts())
def test_decided_again_once_all_is_done_nothing_is_left_to_do(observed: ReconcileFacts) -> None:
    assert decided_again(observed).plan.actions == ()


@given(any_facts())
def test_the_order_of_the_pools_does_not_matter(observed: ReconcileFacts) -> None:
    turned = observed.spec.model_copy(update={"pools": list(reversed(observed.spec.pools))})
    pools = dict(reversed(observed.pools.items()))
    assert decide_reconcile(replace(observed, spec=turned, pools=pools)) == decide_reconcile(observed)


@given(any_facts())
def test_a_spec_without_pools_does_nothing_whatever_else_is_asked(observed: ReconcileFacts) -> None:
    decision = decide_reconcile(replace(observed, spec=spec(), prune=True))
    assert decision.plan.verdicts == ()
    assert "means nothing" in decision.emptiness


@given(any_facts(min_size=1))
def test_every_pool_and_each_queue_of_those_written_has_one_verdict(observed: ReconcileFacts) -> None:
    targets = [verdict.target for verdict in decide_reconcile(observed).plan.verdicts]
    assert len(set(targets)) == len(targets)
    pools = {target.name for target in targets if target.kind is Kind.POOL}
    assert pools == observed.pools.keys() | {pool.name for pool in observed.spec.pools}
    for pool in observed.spec.pools:
        own = {target.name for target in targets if target.kind is Kind.QUEUE and target.pool == pool.name}
        assert {f"{pool.name}/{queue.name}" for queue in pool.queues} <= own or pool.name == MANAGEMENT


@given(any_facts(min_size=1))
def test_only_what_this_spec_created_and_dropped_unprotected_and_unused_is_ever_pruned(
    observed: ReconcileFacts,
) -> None:
    decision = decide_reconcile(observed)
    deleted = [action.target for action in decision.plan.actions if action.verb is Verb.DELETE]
    written = {pool.name for pool in observed.spec.pools}
    for target in deleted:
        known = observed.created[target.id]
        assert (target.kind, known.spec, known.protected, observed.prune) == (Kind.POOL, PATH, False, True)
        assert target.name not in {*written, MANAGEMENT}
        assert target.id not in observed.uses
    assert {target.id for target in deleted} <= {pool.id for pool in prunable(observed)}


@given(any_facts(min_size=1))
def test_the_management_pool_is_never_touched_nor_is_a_queue_ever_deleted(observed: ReconcileFacts) -> None:
    plan = decide_reconcile(observed).plan
    observed.protection.check(plan)
    assert all(action.target.kind is Kind.POOL for action in plan.actions if action.verb is Verb.DELETE)


@given(any_facts(min_size=1))
def test_a_protected_pool_that_is_there_is_never_changed(observed: ReconcileFacts) -> None:
    protected = {pool.name for pool in observed.spec.pools if pool.protected} & observed.pools.keys()
    for step in decide_reconcile(observed).steps.values():
        if step.target.pool in protected and step.verb is Verb.CHANGE:
            assert step.reason.startswith("its creation was begun")


@given(any_facts(min_size=1))
def test_only_what_is_named_is_ever_written(observed: ReconcileFacts) -> None:
    """A pool's limit is also named by the one that is usual for all."""
    wanted = {pool.name: pool for pool in observed.spec.pools}
    for step in decide_reconcile(observed).steps.values():
        if step.verb is not Verb.CHANGE:
            continue
        pool = wanted[str(step.target.pool)]
        part = pool if step.target.kind is Kind.POOL else queue_of(pool, step.target.name)
        named = set(part.model_fields_set)
        if step.target.kind is Kind.POOL and observed.spec.default_concurrency_limit is not None:
            named.add("concurrency_limit")
        assert set(step.body) - ({"description"} if step.reason.startswith("its creation") else set()) <= named


def queue_of(pool: PoolSpec, name: str) -> QueueSpec:
    return next(each for each in pool.queues if f"{pool.name}/{each.name}" == name)


@given(any_facts(min_size=1))
def test_the_keepers_notes_stay_and_a_held_pool_keeps_its_pause_and_its_trial_limit(observed: ReconcileFacts) -> None:
    after = carried_out(observed, decide_reconcile(observed))
    for name, before in observed.pools.items():
        now = after.pools.get(name)
        if now is None:
            continue
        kept = [note for note in NOTE.findall(before.description or "") if "being created" not in note]
        left = [note for note in NOTE.findall(now.description or "") if "being created" not in note]
        assert left == kept
        if is_held(before.description):
            assert now.is_paused == before.is_paused
        if before.is_half_open:
            assert now.concurrency_limit == before.concurrency_limit


@given(any_facts(min_size=1))
def test_what_differs_is_what_is_told_as_drift(observed: ReconcileFacts) -> None:
    decision = decide_reconcile(observed)
    acted = {action.target.pool for action in decision.plan.actions if action.verb is not Verb.DELETE}
    finishing = {
        each.target.pool for each in decision.plan.actions if each.reason == "its creation was begun and not finished"
    }
    assert acted - finishing <= decision.drift().keys()
    done = frozenset(action.target for action in decision.plan.actions)
    assert all("protected" in words for words in decision.drift(done).values())


# --- One by one ---------------------------------------------------------------------------------------------------


def test_each_field_that_differs_is_told_with_old_and_new_side_by_side() -> None:
    wanted = spec({"name": "etl", "concurrency_limit": 5, "description": "new", "is_paused": True,
                   "base_job_template": {"inline": OTHER}})  # fmt: skip
    (verb, words) = reasons(facts(wanted, there(description="old", concurrency_limit=None)))["etl"]
    assert verb is Verb.CHANGE
    assert words == (
        "concurrency limit none → 5; description 'old' → 'new'; is paused false → true; base job template differs at "
        "job_configuration.image, variables.properties.env.default, variables.properties.image"
    )


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        ({"description": ""}, {"description": None}),
        ({"description": None}, {"description": ""}),
        ({"description": "mine\n"}, {"description": "mine"}),
        ({"concurrency_limit": None}, {"concurrency_limit": None}),
        ({"base_job_template": "default"}, {"template": {}}),
        ({"base_job_template": {"inline": DEFAULT}}, {"template": dict(reversed(DEFAULT.items()))}),
        ({"base_job_template": {"inline": {**DEFAULT, "extra": None}}}, {}),
        ({}, {"concurrency_limit": 3, "description": "theirs", "is_paused": True, "template": OTHER}),
    ],
)
def test_what_means_the_same_is_no_difference(wanted: dict[str, object], has: dict[str, object]) -> None:
    observed = facts(spec({"name": "etl", **wanted}), there(**has))
    assert reasons(observed)["etl"] == (Verb.LEAVE, "as in the spec")


def test_an_empty_template_is_not_the_default_where_no_worker_will_ever_fill_it_in() -> None:
    wanted = spec({"name": "etl", "type": "ecs:push", "base_job_template": "default"})
    observed = facts(wanted, there(type="ecs:push", template={}), defaults={"ecs:push": (DEFAULT,)})
    assert reasons(observed)["etl"][0] is Verb.CHANGE


def test_a_limit_of_none_in_the_spec_is_a_wish_too() -> None:
    observed = facts(
        spec({"name": "etl", "concurrency_limit": None}, default_concurrency_limit=9), there(concurrency_limit=3)
    )
    assert reasons(observed)["etl"] == (Verb.CHANGE, "concurrency limit 3 → none")


def test_of_long_descriptions_the_part_is_told_where_they_differ() -> None:
    same = "x" * 200
    observed = facts(spec({"name": "etl", "description": f"{same} new"}), there(description=f"{same} old"))
    assert reasons(observed)["etl"][1].endswith("xxxxx old' → '…xxxxxxxxxxxxxxxxxxx new'")


def test_only_what_is_created_is_beyond_the_share() -> None:
    names = [f"p{number}" for number in range(8)]
    wanted = spec(*({"name": name, "concurrency_limit": 1} for name in names))
    limit = ActionLimit(max_actions=8, max_share=0)
    decide_reconcile(facts(wanted)).check(limit)
    decision = decide_reconcile(facts(wanted, *(there(name) for name in names)))
    with pytest.raises(UnsafePlan, match="8 of 8 pools"):
        decision.check(limit)
    with pytest.raises(UnsafePlan, match="at most 7"):
        decide_reconcile(facts(wanted)).check(ActionLimit(max_actions=7, max_share=1))


@pytest.mark.parametrize(
    ("made", "changed", "words"),
    [
        ((), {}, "unmanaged: not in the spec"),
        ((created("etl", spec="other.yaml"),), {"prune": True}, "unmanaged: not in the spec; created from other.yaml"),
        ((created("etl"),), {}, "no longer in it; prune is off"),
        ((created("etl", protected=True),), {"prune": True}, "it was protected when it was last in it"),
        ((created("etl"),), {"prune": True, "uses": {"id-etl": "2 deployments"}}, "depends on it: 2 deployments"),
    ],
)
def test_a_pool_that_is_not_in_the_spec_is_left_and_it_is_said_why(
    made: tuple[Created, ...], changed: dict[str, Any], words: str
) -> None:
    observed = facts(spec({"name": "other"}), there(), made=made, **changed)
    verb, reason = reasons(observed)["etl"]
    assert verb is Verb.LEAVE
    assert words in reason


def test_the_numbers_of_a_change_have_what_was_and_what_is() -> None:
    observed = facts(spec({"name": "etl", "queues": [{"name": "default", "priority": 3}]}), there(queues=(queue(),)))
    (action,) = decide_reconcile(observed).plan.actions
    assert action.numbers == {"differences": 1, "priority_before": "1", "priority_after": "3"}


def test_a_template_behind_the_default_is_told_with_what_it_lacks() -> None:
    old, usual = there("old", template=OTHER), there("usual")
    decision = decide_reconcile(facts(spec({"name": "x"}), old, usual, there("empty", template={})))
    assert decision.behind == {"old": ("variables.image", "job_configuration.image")}


# --- What is remembered -------------------------------------------------------------------------------------------


@given(any_facts())
def test_a_plan_never_takes_protection_away_nor_a_pool_from_another_spec(observed: ReconcileFacts) -> None:
    for each in to_remember(observed, dry_run=True):
        before = observed.created[each.id]
        assert (each.spec, each.protected, before.protected) == (before.spec, True, False)


@given(any_facts())
def test_after_acting_all_of_the_spec_that_was_created_is_remembered_as_written(observed: ReconcileFacts) -> None:
    written = {pool.name: pool for pool in observed.spec.pools}
    remembered = dict(observed.created) | {each.id: each for each in to_remember(observed, dry_run=False)}
    for each in remembered.values():
        if each.pool in written:
            assert (each.spec, each.protected) == (PATH, written[each.pool].protected)
        else:
            assert each == observed.created[each.id]


def test_what_is_gone_is_forgotten_and_nothing_else() -> None:
    observed = facts(spec({"name": "etl"}), there(), made=(created("etl"), created("gone")))
    assert [each.pool for each in to_forget(observed)] == ["gone"]


def test_owners_description_is_what_is_left_without_any_note() -> None:
    assert owners("[Poolkeeper: a]\n\n[Poolkeeper: b]\n\nmine") == "mine"
    assert owners(None) == owners("") == owners("[Poolkeeper: a]") == ""

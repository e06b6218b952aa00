from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.archive import Archive, ArchivedPool, newest_by_pool
from flows.policy.bad_input import BadInput
from flows.policy.dependents import Dependents, StillNeeded
from flows.policy.facts import PoolFacts
from flows.policy.lease import read_note, with_note
from flows.policy.lifecycle.decision import NameTaken, SeenPool, decide_lifecycle, decide_restore
from flows.policy.lifecycle.request import Action, DeleteOptions, Hand, LifecycleLimit, Request, story
from flows.policy.lifecycle.steps import next_step
from flows.policy.pause_note import read_deletion, read_pause, with_deletion, with_pause
from flows.policy.plan import ActionLimit, Kind, UnsafePlan, Verb
from flows.policy.protection import Protection
from tests.builders import NOW, ago, deployment, pool
from tests.circuits import waiting
from tests.policy.test_lease import owners
from tests.strategies import texts

ACTIONS: tuple[Action, ...] = (
    "pause", "resume", "drain", "set-concurrency-limit", "clear-concurrency-limit", "delete",
)  # fmt: skip
NOBODY = Protection()
THERE = {Kind.POOL: 20}
TAG = "0123456789ab"
PAUSED = f"paused on {ago(hours=1):%Y-%m-%d %H:%M:%S} UTC by Ann. Why: x."
DELETING = f"being deleted since {ago(hours=1):%Y-%m-%d %H:%M:%S} UTC by Ann. Why: x."


def hand(action: Action = "pause", *, booked: str = "", **changed: Any) -> Hand:
    limit = {"concurrency_limit": 3} if action == "set-concurrency-limit" else {}
    return Hand(Request(action, "etl", **{"reason": "upgrade", **limit, **changed}), "Ann", NOW, "run", booked)


def after(facts: PoolFacts, hand: Hand) -> tuple[bool, str | None]:
    """Whether it is paused once the step is taken, and its description then."""
    changes = next_step(hand, facts).changes
    return bool(changes.get("is_paused", facts.is_paused)), changes.get("description", facts.description)  # type: ignore[return-value]


@given(owners, st.booleans(), texts, st.none() | st.floats(1, 10080))
def test_a_pause_and_a_resume_give_back_what_was_there(
    own: str | None, paused: bool, why: str, minutes: float | None
) -> None:
    asked = hand(reason=why or "x", expires_minutes=minutes)
    is_paused, description = after(pool(description=own, is_paused=paused), asked)
    assert is_paused
    note = read_pause(description)
    assert note is not None
    assert note.tag == asked.tag("id-etl")
    assert after(pool(description=description, is_paused=True), hand("resume")) == (False, own)


@given(owners, st.sampled_from(ACTIONS), st.booleans())
def test_a_step_that_leaves_changes_nothing_and_every_other_one_something(
    own: str | None, action: Action, paused: bool
) -> None:
    step = next_step(hand(action), pool(description=own, is_paused=paused))
    assert (step.verb is Verb.LEAVE) == (not step.changes)
    assert step.reason


@given(owners, st.sampled_from([each for each in ACTIONS if each != "delete"]), st.booleans())
def test_what_stands_half_deleted_is_left_to_delete_and_restore(own: str | None, action: Action, paused: bool) -> None:
    noted = with_deletion(own, DELETING, TAG, was_paused=False)
    step = next_step(hand(action), pool(description=noted, is_paused=paused))
    assert step.verb is Verb.LEAVE
    assert "Run delete again to go on, or restore to undo it" in step.reason


@given(owners, st.booleans(), st.booleans())
def test_a_deletion_begun_twice_is_one_and_remembers_how_it_was(own: str | None, paused: bool, resumed: bool) -> None:
    _, description = after(pool(description=own, is_paused=paused), hand("delete"))
    first = read_deletion(description)
    assert first is not None
    assert first.was_paused == paused
    again = pool(description=description, is_paused=not resumed)
    step = next_step(hand("delete"), again)
    assert (step.verb is Verb.LEAVE) == (not resumed)
    second = read_deletion(after(again, hand("delete"))[1])
    assert second is not None
    assert (second.tag, second.was_paused) == (first.tag, paused and not resumed)


def test_a_pause_of_what_auto_pause_holds_keeps_its_lease_for_it_to_take_away() -> None:
    leased = with_note("mine", "why", "ab.1")
    step = next_step(hand(), pool(description=leased, is_paused=True))
    assert step.changes["is_paused"] is True
    note = read_note(str(step.changes["description"]))
    assert note is not None
    assert note.tag == "ab.1"


@pytest.mark.parametrize(("words", "left"), [("why", "mine"), ("Former limit: 7.", "[Poolkeeper: Former")])
def test_a_resume_takes_the_lease_of_a_pause_away_but_no_former_limit(words: str, left: str) -> None:
    leased = with_note("mine", words, "ab.1")
    step = next_step(hand("resume"), pool(description=with_pause(leased, PAUSED, TAG), is_paused=True))
    assert str(step.changes["description"]).startswith(left)


@pytest.mark.parametrize(
    ("description", "paused", "anew", "verb", "then"),
    [
        (with_pause("mine", PAUSED, TAG), True, False, Verb.RESUME, (False, "mine")),
        (with_pause("mine", PAUSED, TAG), True, True, Verb.CHANGE, (True, "mine")),
        (with_pause("mine", PAUSED, TAG), False, False, Verb.CHANGE, (False, "mine")),
        (with_pause("mine", PAUSED, "ff"), True, False, Verb.LEAVE, None),
        ("mine", True, False, Verb.LEAVE, None),
        (None, False, False, Verb.LEAVE, None),
    ],
)
def test_a_booked_run_ends_the_very_pause_that_it_was_booked_for(
    description: str | None, paused: bool, anew: bool, verb: Verb, then: tuple[bool, str] | None
) -> None:
    facts = pool(description=description, is_paused=paused)
    step = next_step(hand("resume", booked=TAG), facts, is_paused_anew=anew)
    assert step.verb is verb
    expected = (paused, description) if then is None else then
    assert (step.changes.get("is_paused", paused), step.changes.get("description", description)) == expected


def test_the_drops_come_before_the_resume_and_no_limit_counts_them() -> None:
    late = tuple(waiting(f"owl-{number}") for number in range(9))
    seen = SeenPool(pool(is_paused=True), waiting=late)
    decision = decide_lifecycle(hand("resume", backlog="drop"), [seen], NOBODY, THERE)
    assert [each.verb for each in decision.plan.actions] == [Verb.CANCEL] * 9 + [Verb.RESUME]
    decision.check()


def test_every_pool_is_paused_before_the_first_is_waited_for() -> None:
    draining = with_pause(None, f"draining since {NOW:%Y-%m-%d %H:%M:%S} UTC by Ann.", TAG)
    seen = [SeenPool(pool("b")), SeenPool(pool("a")), SeenPool(pool("c", is_paused=True, description=draining))]
    decision = decide_lifecycle(hand("drain"), seen, NOBODY, THERE)
    found = [(each.verb.value, each.target.name) for each in decision.plan.actions]
    assert found == [("pause", "a"), ("pause", "b"), ("drain", "a"), ("drain", "b"), ("drain", "c")]
    with pytest.raises(UnsafePlan, match="would change 3 things; at most 1"):
        decision.check()


def test_a_pool_is_deleted_last_and_only_where_nothing_is_in_the_way() -> None:
    seen = SeenPool(pool(), dependents=Dependents((deployment(),)))
    with pytest.raises(StillNeeded, match=r"Work pool 'etl' is needed: 1 deployment"):
        decide_lifecycle(hand("delete"), [seen], NOBODY, THERE).check()
    answered = hand("delete", delete=DeleteOptions(archive_deployments=True))
    decision = decide_lifecycle(answered, [seen], NOBODY, THERE)
    decision.check()
    assert [each.verb for each in decision.plan.actions] == [Verb.PAUSE, Verb.PAUSE, Verb.DELETE]
    assert decision.plan.actions[-1].target.kind is Kind.POOL


@given(st.sampled_from(ACTIONS), st.booleans())
def test_what_is_protected_is_left_whatever_is_asked(action: Action, paused: bool) -> None:
    seen = SeenPool(pool(is_paused=paused), dependents=Dependents((deployment(),)))
    decision = decide_lifecycle(hand(action), [seen], Protection(pools=frozenset({"etl"})), THERE)
    assert decision.plan.actions == ()
    assert len(decision.plan.verdicts) == 1


def archived(name: str = "etl", days: int = 1, **changed: Any) -> Archive:
    fields = ArchivedPool(
        id=f"id-{name}-{days}", name=name, type="process", description=None, is_paused=False, concurrency_limit=None,
        base_job_template={}, storage_configuration={},
    )  # fmt: skip
    usual = {"pool": name, "pool_fields": fields, "queues": [], "archived_at": ago(days=days), "reason": "Ann: over"}
    return Archive(**{**usual, **changed})


def test_the_newest_archive_of_a_name_is_the_one_that_comes_back() -> None:
    queue = archived(days=0, pool_fields=None)
    found = newest_by_pool({"a": archived(days=3), "b": archived(days=1), "c": archived(days=2), "d": queue})
    assert found == {"etl": archived(days=1)}
    (verdict,) = decide_restore(hand("restore"), found, {}, NOBODY, THERE).plan.verdicts
    assert (verdict.verb, verdict.target.id) == (Verb.RESTORE, "id-etl-1")


def test_a_name_that_is_taken_is_refused_unless_what_is_there_is_the_pool_itself() -> None:
    archive = archived()
    for there, verb in (
        (pool(description="another one"), None),
        (pool(description=archive.note("mine")), Verb.RESTORE),
        (pool(description=with_deletion("mine", DELETING, TAG, was_paused=False)), Verb.RESTORE),
    ):
        decision = decide_restore(hand("restore"), {"etl": archive}, {"etl": there}, NOBODY, THERE)
        assert bool(decision.taken) == (verb is None)
        if verb is None:
            with pytest.raises(NameTaken, match=r"there is a work pool named 'etl' again\. Nothing was changed"):
                decision.check()
        else:
            decision.check()


def test_an_archive_is_joined_with_what_an_earlier_attempt_had_changed_already() -> None:
    def queue(name: str, *deployments: str) -> dict[str, Any]:
        usual = {"description": None, "is_paused": False, "concurrency_limit": None, "priority": 1}
        return {"id": f"id-{name}", "name": name, **usual, "deployments": list(deployments)}

    earlier = archived(queues=[queue("a", "1", "2"), queue("b", "3")], unpause=["1"], moved_to="ops")
    later = archived(queues=[queue("a", "2", "3"), queue("b")], unpause=["2"])
    joined = later.joined_with(earlier)
    assert [each.deployments for each in joined.queues] == [["2", "3", "1"], []]
    assert (joined.unpause, joined.moved_to) == (["1", "2"], "ops")


@pytest.mark.parametrize("action", ["pause", "drain", "clear-concurrency-limit", "restore", "delete", "resume"])
def test_an_ordinary_request_fits_together(action: Action) -> None:
    hand(action).request.check()


@pytest.mark.parametrize(
    ("action", "parameters", "words"),
    [
        ("delete", {"expires_minutes": 5}, "Parameter 'expires_minutes' belongs to the action 'pause', and this is"),
        ("drain", {"backlog": "drop"}, "'backlog' belongs to the action 'resume' or 'pause'"),
        ("pause", {"backlog": "drop"}, "this pause has no end"),
        ("pause", {"concurrency_limit": 3}, "belongs to the action 'set-concurrency-limit'"),
        ("clear-concurrency-limit", {"concurrency_limit": 0}, "belongs to the action 'set-concurrency-limit'"),
        ("pause", {"wait_minutes": 3}, "belongs to the action 'drain'"),
        ("pause", {"delete": DeleteOptions(cancel_runs=True)}, "belongs to the action 'delete'"),
        ("set-concurrency-limit", {"concurrency_limit": None}, "'concurrency_limit' is missing"),
        ("pause", {"reason": " \n"}, "'reason' is blank"),
        ("delete", {"delete": DeleteOptions(move_deployments_to="x", archive_deployments=True)}, "not both"),
    ],
)
def test_what_does_not_fit_together_is_refused(action: Action, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as refusal:
        hand(action, **parameters).request.check()
    assert str(refusal.value).endswith("Nothing was done.")


def test_the_limit_is_one_pool_unless_said_otherwise() -> None:
    assert (LifecycleLimit().max_actions, LifecycleLimit().max_share) == (1, ActionLimit().max_share)


@given(texts, texts)
def test_a_story_is_one_short_line(name: str, reason: str) -> None:
    told = story("pause", name * 9, reason * 9)
    assert len(told) <= 120
    assert "\n" not in told


def test_two_pauses_never_share_a_tag() -> None:
    one, later = hand(), Hand(hand().request, "Ann", NOW + timedelta(seconds=1), "run")
    other_run = Hand(hand().request, "Ann", NOW, "other")
    assert len({each.tag(id_) for each in (one, later, other_run) for id_ in ("1", "2")}) == 6

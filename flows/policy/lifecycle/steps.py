"""What is done to one work pool, decided from how it is now."""

from collections.abc import Callable, Mapping

from flows.policy.case import Changes
from flows.policy.facts import PoolFacts
from flows.policy.lifecycle.pausing import drain, end_of_pause, pause, resume
from flows.policy.lifecycle.request import Action, Hand
from flows.policy.lifecycle.step import MOMENT, Step, as_sentence, who
from flows.policy.pause_note import half_done, read_deletion, with_deletion
from flows.policy.plan import Verb

NO_LIMIT = "none"


def next_step(hand: Hand, pool: PoolFacts, *, is_paused_anew: bool = False) -> Step:
    """The step that the request asks for; `leave` where it is not to be taken.

    `is_paused_anew` counts for a booked run: a person has paused the pool again since the pause that is to end.
    """
    if hand.request.action != "delete" and (words := half_done(pool.description)):
        return Step(Verb.LEAVE, words)
    if hand.booked:
        return end_of_pause(hand, pool, is_paused_anew=is_paused_anew)
    return STEPS[hand.request.action](hand, pool)


def _set_limit(hand: Hand, pool: PoolFacts) -> Step:
    before, after = pool.concurrency_limit, hand.request.concurrency_limit
    if before == after:
        return Step(Verb.LEAVE, f"its concurrency limit is {_limit(after)} already")
    numbers = who(hand) | {"concurrency_limit": after, "former_concurrency_limit": before}
    words = f"concurrency limit {_limit(before)} → {_limit(after)}; {hand.why}"
    return Step(Verb.CHANGE, words, {"concurrency_limit": after}, numbers)


def _delete(hand: Hand, pool: PoolFacts) -> Step:
    note = read_deletion(pool.description)
    if note is not None and pool.is_paused:
        return Step(Verb.LEAVE, f"paused already: {note.words}")
    if note is None and (words := half_done(pool.description)):
        return Step(Verb.LEAVE, words)
    words = (
        f"being deleted since {hand.now:{MOMENT}} UTC by {hand.by}. Why: {as_sentence(hand)} "
        "If this stays, run pool-lifecycle with delete or restore."
    )
    # The tag stays: what an earlier attempt has archived belongs to it.
    tag = note.tag if note else hand.tag(pool.id)
    changes: Changes = {
        "is_paused": True,
        "description": with_deletion(pool.description, words, tag, was_paused=pool.is_paused),
    }
    return Step(Verb.PAUSE, f"nothing of it starts while it is deleted; {hand.why}", changes, who(hand))


STEPS: Mapping[Action, Callable[[Hand, PoolFacts], Step]] = {
    "pause": pause,
    "drain": drain,
    "resume": resume,
    "set-concurrency-limit": _set_limit,
    "clear-concurrency-limit": _set_limit,
    "delete": _delete,
}


def _limit(limit: int | None) -> str:
    return NO_LIMIT if limit is None else str(limit)

"""Pausing a work pool by hand, draining it, resuming it, and ending a pause whose time is up."""

from flows.policy.case import Changes
from flows.policy.facts import PoolFacts
from flows.policy.lease import read_note, without_note
from flows.policy.lifecycle.request import Hand
from flows.policy.lifecycle.step import MOMENT, Step, as_sentence, who
from flows.policy.pause_note import OVER, read_pause, stale_note_gone, why_paused, with_pause, without_pause
from flows.policy.plan import Verb


def pause(hand: Hand, pool: PoolFacts) -> Step:
    until, numbers = "", who(hand)
    if hand.until is not None:
        until = f" until {hand.until:{MOMENT}} UTC, when it is resumed"
        numbers |= {"until": hand.until.isoformat(), "minutes": hand.request.expires_minutes}
    words = f"paused on {hand.now:{MOMENT}} UTC by {hand.by}{until}. Why: {as_sentence(hand)} To end it, resume it."
    changes: Changes = {
        # Also where it is paused already: so Prefect tells that a person paused it.
        "is_paused": True,
        "description": with_pause(pool.description, words, hand.tag(pool.id)),
    }
    return Step(Verb.PAUSE, hand.why + until, changes, numbers)


def drain(hand: Hand, pool: PoolFacts) -> Step:
    note = read_pause(pool.description)
    if pool.is_paused and note is not None and note.is_draining:
        return Step(Verb.LEAVE, f"paused already: {note.words}")
    words = f"draining since {hand.now:{MOMENT}} UTC by {hand.by}. Why: {as_sentence(hand)} To end it, resume it."
    changes: Changes = {"is_paused": True, "description": with_pause(pool.description, words, hand.tag(pool.id))}
    return Step(Verb.PAUSE, f"{hand.why}; its runs go on to their end", changes, who(hand))


def resume(hand: Hand, pool: PoolFacts) -> Step:
    if not pool.is_paused:
        return _stale(pool) or Step(Verb.LEAVE, f"it is not paused ({_trial(pool)})")
    own = without_pause(pool.description)
    lease = read_note(own)
    # The note of a trial holds the former limit, which pool-auto-pause gives back.
    if lease is not None and not lease.former_limit:
        own = without_note(own)
    changes: Changes = {"is_paused": False} | ({} if own == pool.description else {"description": own})
    was = why_paused(pool.description)
    return Step(Verb.RESUME, hand.why + (f"; it was {was}" if was else ""), changes, who(hand))


def end_of_pause(hand: Hand, pool: PoolFacts, *, is_paused_anew: bool) -> Step:
    """A booked run ends the very pause that it was booked for, and no other."""
    note = read_pause(pool.description)
    if note is None or note.tag != hand.booked:
        return Step(Verb.LEAVE, "the pause that was to end now is over already: somebody resumed it or paused it anew")
    if not pool.is_paused:
        return _stale(pool) or Step(Verb.LEAVE, OVER)
    if is_paused_anew:
        words = "a person paused it anew: it stays paused until a person resumes it; the note of the former pause goes"
        return Step(Verb.CHANGE, words, {"description": without_pause(pool.description)}, who(hand))
    return resume(hand, pool)


def _stale(pool: PoolFacts) -> Step | None:
    own = stale_note_gone(pool.description, is_paused=pool.is_paused)
    return None if own == pool.description else Step(Verb.CHANGE, OVER, {"description": own})


def _trial(pool: PoolFacts) -> str:
    return "pool-auto-pause lets a few runs of it try" if read_note(pool.description) else "its runs start as usual"

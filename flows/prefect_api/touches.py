"""Who touched a pool or deployment when, as Prefect's events tell: what its present state alone does not show."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import anyio

from flows.policy.lease import Note, read_note
from flows.policy.pause_note import PauseNote, read_pause
from flows.policy.plan import Kind, Target
from flows.prefect_api.client import Api, decode
from flows.prefect_api.paging import Row

# Prefect keeps events for a week, unless told otherwise.
EVENTS_KEPT = timedelta(days=7)
MOST_EVENTS = 50
# The server tells its time in whole seconds, rounded up here: what was decided "now" may be done before it.
ROUNDED = timedelta(seconds=2)
# A server writes events down in batches; after this time it has.
EVENTS_TAKE = timedelta(seconds=7)
SENT_AGAIN = timedelta(seconds=60)
# A pause and the note that came with it, in one write, are told by two events.
ONE_WRITE = timedelta(seconds=1)
POOL_PAUSED = "prefect.work-pool.paused"
# A resumed pool has one of these statuses; there is no event of its own.
POOL_RESUMED = ("prefect.work-pool.ready", "prefect.work-pool.not-ready")
POOL_UPDATED = "prefect.work-pool.updated"
DEPLOYMENT_UPDATED = "prefect.deployment.updated"


async def is_paused_anew(api: Api, target: Target, since: datetime, tag: str) -> bool:
    """Whether somebody paused what the keeper paused at that time with this tag in its note.

    A request that was sent again because its answer was lost also pauses twice; but soon, and with no resume between.
    """
    switches = sorted(await _switches(api, target, since - ROUNDED))
    notes = await _notes(api, target, since - ROUNDED)
    # A pool's pause is told before the note that came with it.
    noted = [at for at, note in notes if note.tag == tag]
    ours = min(noted, default=None) or next((at for at, is_pause in switches if is_pause), None)
    if ours is None:
        return False
    # What auto-pause itself has paused since, in a write that the server was slow to carry out, nobody else has.
    by_others = [at for at, note in notes if isinstance(note, Note) and note.tag != tag]
    resumed = next((at for at, is_pause in switches if not is_pause and at > ours), None)
    later = [at for at, is_pause in switches if is_pause and at > ours and not _is_one_write(at, by_others)]
    return any(at - ours > SENT_AGAIN or (resumed is not None and at > resumed) for at in later)


async def wait_for_events(touched_at: datetime | None, now: datetime) -> None:
    """Wait until the events of a touch at that time, if there was one, are written down.

    No longer than they take, where it seems to lie ahead because the server's clock was set back since.
    """
    if touched_at is None:
        return
    remaining = min(EVENTS_TAKE, EVENTS_TAKE - (now - touched_at))
    await anyio.sleep(max(0.0, remaining.total_seconds()))


async def is_written_late(api: Api, target: Target, note: Note, after: datetime, *, is_paused: bool) -> bool:
    """Whether its note was written only after that time; where it is paused, in the write that paused it last."""
    noted = [at for at, known in await _notes(api, target, after) if known.tag == note.tag and at > after]
    if not noted or not is_paused:
        return bool(noted)
    pauses = [at for at, is_pause in await _switches(api, target, after - ROUNDED, only_pauses=True) if is_pause]
    return bool(pauses) and _is_one_write(max(pauses), noted)


async def resumed_at(api: Api, target: Target, now: datetime, *, since: datetime | None = None) -> datetime | None:
    """When somebody last resumed what was paused since then (or as far back as events are kept); None: nobody did.

    It is not paused now, so what was paused was resumed; where that event is still on its way, it was just now.
    """
    switches = await _switches(api, target, since or now - EVENTS_KEPT, only_pauses=True)
    pauses = [at for at, is_pause in switches if is_pause]
    if not pauses:
        return None
    later = await _switches(api, target, max(pauses))
    return min((at for at, is_pause in later if not is_pause), default=now)


async def is_limit_theirs(api: Api, target: Target, since: datetime) -> bool:
    """Whether the last change of a pool's concurrency limit was a person's: the keeper's go with its note."""
    events = await _events(api, target, [POOL_UPDATED], since - ROUNDED)
    updates = [event["payload"].get("updates", {}) for event in events]
    last = next((update for update in updates if "concurrency_limit" in update), None)
    if last is None:
        return False
    described = last.get("description", {})
    return not (read_note(described.get("from")) or read_note(described.get("to")))


async def known_tags(api: Api, target: Target, since: datetime) -> frozenset[str]:
    """The tags of the notes that were put on it since then, also of those that somebody erased."""
    return frozenset(note.tag for _, note in await _notes(api, target, since - ROUNDED))


async def _notes(api: Api, target: Target, since: datetime) -> list[tuple[datetime, Note | PauseNote]]:
    """When which note was put on it."""
    events = await _events(api, target, [POOL_UPDATED if target.kind is Kind.POOL else DEPLOYMENT_UPDATED], since)
    found = []
    for event in events:
        described = event["payload"].get("updates", {}).get("description", {}).get("to")
        notes = (read_note(described), read_pause(described))
        found += [(datetime.fromisoformat(event["occurred"]), note) for note in notes if note]
    return found


def _is_one_write(pause: datetime, notes: Sequence[datetime]) -> bool:
    return any(abs(pause - at) <= ONE_WRITE for at in notes)


async def _switches(
    api: Api, target: Target, since: datetime, *, only_pauses: bool = False
) -> list[tuple[datetime, bool]]:
    """When it was paused (True) or resumed (False), latest first."""
    names = [POOL_PAUSED, *(() if only_pauses else POOL_RESUMED)]
    events = await _events(api, target, names if target.kind is Kind.POOL else [DEPLOYMENT_UPDATED], since)
    decoded = decode(events, "event", lambda event: (datetime.fromisoformat(event["occurred"]), _is_pause(event)))
    return [(at, is_pause) for at, is_pause in decoded if is_pause is not None]


async def _events(api: Api, target: Target, names: Sequence[str], since: datetime) -> list[Row]:
    resource = f"prefect.{'work-pool' if target.kind is Kind.POOL else 'deployment'}.{target.id}"
    query: dict[str, Any] = {
        "occurred": {"since": since.isoformat()},
        "event": {"name": list(names)},
        "resource": {"id": [resource]},
        "order": "DESC",
    }
    answer = await api.read("/events/filter", {"filter": query, "limit": MOST_EVENTS})
    events: list[Row] = answer["events"]
    return events


def _is_pause(event: Row) -> bool | None:
    """None for a change of a deployment that has nothing to do with pausing."""
    if event["event"] != DEPLOYMENT_UPDATED:
        return bool(event["event"] == POOL_PAUSED)
    paused = event["payload"].get("updates", {}).get("paused")
    return None if paused is None else bool(paused["to"])

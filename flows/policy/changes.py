"""What changed between two inventories."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flows.policy.fleet import FleetRecord, InventoryFacts, PoolRecord, PoolState

# A record is kept at the end of an inventory; a pool may be created after its beginning.
READING_TAKES = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, in words. `before` and `after` are empty where the pool was created or deleted."""

    pool: str
    what: str
    before: str = ""
    after: str = ""


def changes_since(facts: InventoryFacts) -> tuple[Change, ...] | None:
    """What happened to the selected pools since the last record, by name; None where there is no record."""
    if facts.record is None:
        return None
    old, new = facts.record.pools, {state.pool.name: state for state in facts.fleet.pools}
    deleted = {name for name in old if name not in facts.fleet.names_on_server and facts.selection.covers(name)}
    found: list[Change] = []
    for name in sorted(new.keys() | deleted):
        if name in deleted:
            found.append(Change(name, "deleted"))
        elif name in old:
            found.extend(_differences(old[name], record_of(new[name], facts.now)))
        elif _is_newer(new[name], facts.record):
            found.append(Change(name, "created"))
    return tuple(found)


def next_record(facts: InventoryFacts) -> tuple[PoolRecord, ...]:
    """What to keep: the selected pools as they are now, and the others as they were when last seen."""
    before = facts.record.pools if facts.record else {}
    # One that was deleted meanwhile stays until an inventory that covers it has reported it.
    kept = {
        name: each
        for name, each in before.items()
        if name in facts.fleet.names_on_server or not facts.selection.covers(name)
    }
    seen = {state.pool.name: record_of(state, facts.now) for state in facts.fleet.pools}
    return tuple(each for _, each in sorted((kept | seen).items()))


def record_of(state: PoolState, now: datetime) -> PoolRecord:
    return PoolRecord(
        pool=state.pool.name,
        id=state.pool.id,
        paused=state.pool.is_paused,
        concurrency_limit=state.pool.concurrency_limit,
        template=state.pool.template.digest[:12],
        workers_online=len(state.workers_online(now)),
    )


def _is_newer(state: PoolState, record: FleetRecord) -> bool:
    """A pool that the record does not have was either created since, or is seen for the first time."""
    return state.pool.created_at is not None and state.pool.created_at > record.kept_at - READING_TAKES


def _differences(old: PoolRecord, new: PoolRecord) -> list[Change]:
    if old.id != new.id:
        return [Change(new.pool, "deleted and created again")]
    found = []
    if old.paused != new.paused:
        found.append(Change(new.pool, "paused" if new.paused else "resumed"))
    if old.concurrency_limit != new.concurrency_limit:
        found.append(Change(new.pool, "concurrency limit", _limit(old), _limit(new)))
    if old.template != new.template:
        found.append(Change(new.pool, "base job template", old.template, new.template))
    if old.workers_online != new.workers_online:
        found.append(Change(new.pool, "workers online", str(old.workers_online), str(new.workers_online)))
    return found


def _limit(each: PoolRecord) -> str:
    return "none" if each.concurrency_limit is None else str(each.concurrency_limit)

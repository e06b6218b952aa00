"""The work queues of one work pool: what is to be created and changed, so that in the end all priorities are right.

Setting the priority of a queue pushes others on, as Prefect keeps them different. Set from the first to the last, each
leaves those before it as they are; those after it are reckoned with as they will be when it is their turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flows.policy.plan import Kind, Target, Verb
from flows.policy.pool_spec import PoolSpec, QueueSpec
from flows.policy.reconcile.differences import (
    AS_WRITTEN,
    UNMANAGED,
    Difference,
    Step,
    basis_of,
    shown,
    side_by_side,
    told,
)
from flows.policy.reconcile.facts import QueueThere
from flows.policy.reconcile.notes import owners, with_notes_of

FIELDS = ("priority", "concurrency_limit", "description", "is_paused")


def decide_queues(pool: PoolSpec, there: Sequence[QueueThere]) -> tuple[Step, ...]:
    """A step for each queue that is written or there, those to be done first coming first."""
    queues = {queue.name: queue for queue in there}
    priorities = {queue.name: queue.priority for queue in there}
    steps = []
    for wanted in sorted(pool.queues, key=lambda each: each.priority or float("inf")):
        own = queues.get(wanted.name)
        # What it will be by then, for those before it may have pushed it on.
        before = None if own is None else priorities[wanted.name]
        steps.append(decide_queue(pool.name, wanted, own, before))
        if own is None or (wanted.priority is not None and wanted.priority != before):
            priorities = pushed(priorities, wanted.name, wanted.priority or first_free(priorities))
    written = {queue.name for queue in pool.queues}
    others = [queue for queue in there if queue.name not in written]
    return (*steps, *(Step(target_of(pool.name, each), Verb.LEAVE, UNMANAGED) for each in others))


def target_of(pool: str, queue: QueueThere | QueueSpec) -> Target:
    return Target(Kind.QUEUE, f"{pool}/{queue.name}", queue.id if isinstance(queue, QueueThere) else "", pool=pool)


def pushed(priorities: Mapping[str, int], name: str, priority: int) -> dict[str, int]:
    """All priorities of a work pool once one queue was given this one, as Prefect then sets them."""
    others = sorted((each for each in priorities if each != name), key=lambda each: priorities[each])
    at = next((index for index, each in enumerate(others) if priorities[each] >= priority), len(others))
    found: dict[str, int] = {}
    last = 0
    for each in [*others[:at], name, *others[at:]]:
        own = priority if each == name else priorities[each]
        last = found[each] = own if own > last else last + 1
    return found


def first_free(priorities: Mapping[str, int]) -> int:
    """The priority that Prefect gives a new queue that asks for none."""
    taken = set(priorities.values())
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def decide_queue(pool: str, wanted: QueueSpec, there: QueueThere | None, priority: int | None) -> Step:
    """The step for one queue that is written, whose priority is this one by then."""
    if there is None or priority is None:
        body = {field: getattr(wanted, field) for field in FIELDS if getattr(wanted, field)}
        body |= {"concurrency_limit": 0} if wanted.concurrency_limit == 0 else {}
        differences = tuple(Difference(field, "", shown(value)) for field, value in body.items())
        reason = "in the spec, but not there" + (f": {told(differences)}" if differences else "")
        return Step(target_of(pool, wanted), Verb.CREATE, reason, differences, body)
    before = {
        "priority": priority,
        "concurrency_limit": there.concurrency_limit,
        "description": owners(there.description),
        "is_paused": there.is_paused,
    }
    body = _changes(wanted, there, before)
    if not body:
        return Step(target_of(pool, there), Verb.LEAVE, AS_WRITTEN)
    differences = tuple(
        side_by_side(field, str(before[field]), owners(value))
        if field == "description"
        else Difference(field, shown(before[field]), shown(value))
        for field, value in body.items()
    )
    basis = basis_of({field: before[field] for field in body})
    return Step(target_of(pool, there), Verb.CHANGE, told(differences), differences, body, basis)


def _changes(wanted: QueueSpec, there: QueueThere, before: Mapping[str, Any]) -> dict[str, Any]:
    """What to set, of what is written and otherwise there."""
    body: dict[str, Any] = {}
    for field in FIELDS:
        value = getattr(wanted, field)
        if not wanted.names(field) or (field == "priority" and value is None):
            continue
        if field == "description":
            if owners(value) != before[field]:
                body[field] = with_notes_of(there.description, value) or ""
        elif value != before[field]:
            body[field] = value
    return body

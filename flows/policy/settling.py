"""Which of the circuits that were written down counts, where a run may have died between any two writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.policy.circuit import Circuit, Gate, Phase


@dataclass(frozen=True, slots=True)
class Settled:
    """The circuit that counts, and which of the kept ones do not.

    `repaired` is it where it took effect without that having been noted. `abandoned` was written down and never took
    effect; `outdated` are those that later ones replace. Both by step.
    """

    circuit: Circuit | None = None
    is_repaired: bool = False
    abandoned: int | None = None
    outdated: tuple[int, ...] = ()


def settle(kept: Sequence[Circuit], gate: Gate, now: datetime) -> Settled:
    """Which of a target's circuits counts."""
    by_step = {circuit.step: circuit for circuit in kept}
    steps = sorted(by_step)
    if not steps:
        return Settled(_adopt(gate, now))
    last, earlier = by_step[steps[-1]], steps[:-1]
    if last.applied:
        return Settled((_overtaken(last, gate, now) if gate.is_late else None) or last, outdated=tuple(earlier))
    if _took_effect(last, by_step[earlier[-1]] if earlier else None, gate):
        return Settled(last.model_copy(update={"applied": True}), is_repaired=True, outdated=tuple(earlier))
    if not earlier:
        return Settled(abandoned=last.step)
    return Settled(by_step[earlier[-1]], abandoned=last.step, outdated=tuple(earlier[:-1]))


def _adopt(gate: Gate, now: datetime) -> Circuit | None:
    """The circuit of a note whose record somebody deleted: what the note itself says, its lease at an end."""
    note = gate.note
    if note is None:
        return None
    return Circuit(
        kind=gate.target.kind,
        id=gate.target.id,
        name=gate.target.name,
        pool=gate.target.pool or gate.target.name,
        step=note.step,
        phase=Phase.HALF_OPEN if note.former_limit else Phase.OPEN,
        since=note.since or now,
        lease=note.lease,
        reason="its record is gone; the note on it tells that Poolkeeper paused it",
        opened_at=note.since or now,
        until=now,
        former_limit=int(note.former_limit) if note.former_limit.isdigit() else None,
        probe_limit=gate.limit if note.former_limit else None,
        applied=True,
    )


def _overtaken(last: Circuit, gate: Gate, now: datetime) -> Circuit | None:
    """What the write of an earlier turn, which the server carried out late, has made of it; None where nothing.

    A pause is over, and a trial goes on: nothing stays paused, and no limit is lost, because a server was slow.
    """
    if gate.is_paused and last.phase is Phase.HALF_OPEN:
        return last.model_copy(update={"phase": Phase.OPEN, "until": now})
    if gate.is_paused and last.phase is Phase.OPEN:
        return None
    noted = _adopt(gate, now)
    if noted is None or gate.is_paused is not (noted.phase is Phase.OPEN):
        return None
    kept = {"step": max(noted.step, last.step), "reason": last.reason, "story": last.story}
    return noted.model_copy(update=kept)


def _took_effect(last: Circuit, before: Circuit | None, gate: Gate) -> bool:
    if last.phase is not Phase.CLOSED:
        return last.tag in gate.known_tags or (gate.note is not None and gate.note.tag == last.tag)
    if gate.note is not None and gate.note.lease == last.lease:
        return False
    if before is None or before.phase is Phase.OPEN:
        # What was open stays paused after its closing only where a person paused it anew.
        return before is None or not gate.is_paused or gate.is_taken_over
    # The limit goes back in the same write that takes the note away.
    is_limit_back = before.probe_limit in (None, before.former_limit) or gate.limit != before.probe_limit
    return is_limit_back or gate.is_limit_theirs

"""A circuit: what is known of one pool or deployment that was paused because its runs failed.

closed → open (paused) → half-open (a few runs try) → closed again, or open again for longer. A circuit is immutable;
each turn makes the next one, which is written down before anything is changed.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from flows.policy.lease import Note, read_note
from flows.policy.plan import Kind, Target

# Of a circuit's past, so many turns are kept with it, and of the reason so much where there is no more room.
TURNS_KEPT = 8
SHORT_REASON = 100


class Phase(StrEnum):
    """`closed`: runs start as usual. `open`: paused. `half-open`: a few runs try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Moment(BaseModel):
    """One turn of the circuit's past."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    phase: Phase
    reason: str


class Circuit(BaseModel):
    """The present phase, and what is needed to leave it.

    `step` counts the turns, `lease` names the pause they belong to. `since` is when this phase began: runs that ended
    earlier count no more. `until` is the lease's end while open (None: until a person takes a wish back). The
    `former_limit` comes back once `probe_limit` (None: no limit was set) has gone. `reopened` counts failed probes.
    `forced` tells that a person wished it open. `applied` tells that the pool or deployment is as the phase says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    id: str
    name: str
    pool: str
    step: int
    phase: Phase
    since: datetime
    lease: str
    reason: str
    opened_at: datetime
    until: datetime | None = None
    former_limit: int | None = None
    probe_limit: int | None = None
    reopened: int = 0
    forced: bool = False
    applied: bool = False
    story: tuple[Moment, ...] = ()

    @property
    def target(self) -> Target:
        return Target(self.kind, self.name, self.id, pool=self.pool)

    @property
    def tag(self) -> str:
        return f"{self.lease}.{self.step}"

    def turned(self, phase: Phase, now: datetime, reason: str, **changed: object) -> "Circuit":
        """The next circuit, not yet applied."""
        story = (*self.story, Moment(at=now, phase=phase, reason=reason))[-TURNS_KEPT:]
        usual = {"phase": phase, "since": now, "reason": reason, "step": self.step + 1, "until": None}
        return self.model_copy(update={**usual, "applied": False, "story": story, **changed})

    def within(self, longest: int) -> "Circuit":
        """The same in so many characters of JSON: without the oldest of its past, then with less of its reason.

        It may still be longer: a name is never cut.
        """
        circuit = self
        while circuit.length > longest and circuit.story:
            circuit = circuit.model_copy(update={"story": circuit.story[1:]})
        if circuit.length > longest:
            circuit = circuit.model_copy(update={"reason": self.reason[:SHORT_REASON]})
        return circuit

    @property
    def length(self) -> int:
        """In characters of JSON, where all but ASCII takes six for one."""
        return len(json.dumps(self.model_dump(mode="json")))


@dataclass(frozen=True, slots=True)
class Gate:
    """What lets a target's runs start, as it is now.

    `is_taken_over` tells that a person paused it anew after the keeper had paused it, `is_limit_theirs` that a person
    set the limit last. `resumed_at` is when a person ended the keeper's pause, `touched_at` when anything of it was
    last set. `known_tags` are those of notes that it had. `is_late` tells that its note, with all that came with it,
    was written after the present phase had begun: by an earlier turn, which the server carried out late. Deployments
    have neither limit nor `touched_at` here.
    """

    target: Target
    is_paused: bool
    limit: int | None = None
    description: str | None = None
    is_taken_over: bool = False
    is_limit_theirs: bool = False
    resumed_at: datetime | None = None
    known_tags: frozenset[str] = frozenset()
    touched_at: datetime | None = None
    is_late: bool = False

    @property
    def note(self) -> Note | None:
        return read_note(self.description)

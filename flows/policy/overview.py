"""What the keeper's own page is about: the fleet, what is paused, what was done and by what, what comes next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.policy.circuit import Circuit, Phase
from flows.policy.facts import PoolFacts
from flows.policy.lease import read_any_note
from flows.policy.plan import Kind, Number

HOURS_BACK = 24
LOOKED_BACK = timedelta(hours=HOURS_BACK)
JOBS = ("pool-inventory", "pool-preview", "pool-auto-pause", "pool-cleanup", "pool-lifecycle", "pool-reconcile")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that the keeper did. `did` is such as `paused`; `by` is the job, and the person who asked for it."""

    at: datetime
    kind: Kind | None
    did: str
    name: str
    id: str
    reason: str
    by: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class NextRun:
    """The next run of one of the keeper's jobs."""

    at: datetime
    job: str
    id: str


@dataclass(frozen=True, slots=True)
class OverviewFacts:
    """`fleet` are the rows of the last inventory's table, of `fleet_at` (None: there was none). `paused` are work pools
    that are paused; `more_changes` how many more there were than are listed, newest first; changes of runs are only
    counted, by what was done to them."""

    now: datetime
    fleet: tuple[Mapping[str, Number], ...] = ()
    fleet_at: datetime | None = None
    paused: tuple[PoolFacts, ...] = ()
    circuits: tuple[Circuit, ...] = ()
    changes: tuple[Change, ...] = ()
    more_changes: int = 0
    run_changes: Mapping[str, int] = field(default_factory=dict)
    next_runs: tuple[NextRun, ...] = ()
    reports: tuple[str, ...] = ()

    @property
    def standing(self) -> tuple[Circuit, ...]:
        """The circuits that are not closed, those first whose pause ends first."""
        found = [each for each in self.circuits if each.phase is not Phase.CLOSED]
        return tuple(sorted(found, key=lambda each: (each.until or each.since, each.name)))

    @property
    def paused_otherwise(self) -> tuple[tuple[PoolFacts, str], ...]:
        """The work pools that no circuit has paused, with what the note on them says ("": there is none)."""
        held = {each.id for each in self.standing}
        return tuple((each, read_any_note(each.description)) for each in self.paused if each.id not in held)

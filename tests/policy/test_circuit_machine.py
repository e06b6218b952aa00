"""A pool, its keeper and a person, in any order, with keepers that die between any two writes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flows.policy.breaker import next_turn
from flows.policy.case import Case, Rules, Turn
from flows.policy.circuit import Circuit, Gate, Phase
from flows.policy.failure_threshold import FailureThreshold, Tally
from flows.policy.lease import BETWEEN, NOTE, read_note, without_note
from flows.policy.override import Wish
from flows.policy.plan import Kind, Target, Verb
from flows.policy.recovery import Recovery
from flows.policy.settling import Settled, settle
from tests.builders import NOW

THRESHOLD = FailureThreshold(failure_rate=0.5, minimum_runs=3, window_minutes=60)
RECOVERY = Recovery(cooldown_minutes=10, backoff=2, max_cooldown_minutes=60, probe_runs=2, probe_limit=2)
DEAD_AFTER = timedelta(seconds=15)
# How many of its writes a keeper survives: the record, the pool, the mark, the deletion of earlier records.
NONE, RECORD, POOL, MARK, ALL = range(5)
survived = st.sampled_from([ALL, ALL, ALL, NONE, RECORD, POOL, MARK])
limits = st.sampled_from([None, 1, 2, 3, 10])
descriptions = st.sampled_from([None, "", "Nightly loads", "[a]\n\nb]", "\n\n", "[Poolkeeper: mine]"])
LOOKS_TO_RECOVER = 8


@dataclass
class Kept:
    circuit: Circuit
    at: datetime


@dataclass(frozen=True)
class Run:
    started: datetime
    ended: datetime
    is_good: bool


@dataclass(frozen=True)
class Observation:
    """What a keeper sees, and what it decides from it."""

    gate: Gate
    settled: Settled
    turn: Turn
    now: datetime


@dataclass
class Model:
    """One server with one pool; what a person wants of it is tracked apart."""

    now: datetime = NOW
    generation: int = 1
    is_paused: bool = False
    limit: int | None = None
    description: str | None = None
    kept: dict[int, Kept] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    pauses: list[datetime] = field(default_factory=list)
    resumes: list[datetime] = field(default_factory=list)
    limits_set: list[tuple[datetime, bool]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    counted_since: datetime = NOW
    wish: Wish = Wish.AUTO
    person_paused: bool = False
    person_resumed_at: datetime | None = None
    person_limit: int | None = None
    owners: str | None = None

    @property
    def target(self) -> Target:
        return Target(Kind.POOL, "etl", f"id-{self.generation}", pool="etl")

    @property
    def gate(self) -> Gate:
        """With what Prefect's events tell of a person's hand."""
        kept = [self.kept[step].circuit for step in sorted(self.kept)]
        opened = [each for each in kept if each.phase is Phase.OPEN]
        tried = [each for each in kept if each.phase is Phase.HALF_OPEN and each.probe_limit is not None]
        taken = bool(opened) and self.is_paused and sum(at >= opened[-1].since for at in self.pauses) > 1
        sets = [is_keepers for at, is_keepers in self.limits_set if tried and at >= tried[-1].since]
        theirs = bool(sets) and not sets[-1] and self.limit == tried[-1].probe_limit
        resumed = [at for at in self.resumes if self.pauses and at >= self.pauses[-1]]
        return Gate(
            self.target, self.is_paused, self.limit, self.description,
            is_taken_over=taken, is_limit_theirs=theirs, known_tags=frozenset(self.tags),
            resumed_at=resumed[0] if resumed and not self.is_paused else None,
        )  # fmt: skip

    def settled(self) -> Settled:
        return settle([each.circuit for each in self.kept.values()], self.gate, self.now)

    def tick(self, length: timedelta = timedelta(seconds=1)) -> None:
        self.now += length

    def tally(self, since: datetime, *, started_since: datetime | None = None) -> Tally:
        ended = [run for run in self.runs if run.ended >= since]
        if started_since is not None:
            ended = [run for run in ended if run.started >= started_since]
        return Tally(len(ended), sum(not run.is_good for run in ended))

    def is_failing(self, tally: Tally) -> bool:
        return THRESHOLD.judge(finished=tally.finished, failed=tally.failed).is_failing

    def evidence(self, circuit: Circuit | None) -> Tally:
        """The runs that count: since the window began, the last turn, and the last time that somebody resumed it."""
        start = self.now - THRESHOLD.window
        self.counted_since = max(start, circuit.since) if circuit else start
        if self.is_failing(self.tally(self.counted_since)) and self.pauses:
            resumed = [at for at in self.resumes if at >= self.pauses[-1]]
            self.counted_since = max(self.counted_since, resumed[0] if resumed else self.now)
        return self.tally(self.counted_since)

    def trial(self, circuit: Circuit) -> Tally:
        """The runs since it is half-open, or since somebody resumed it meanwhile."""
        resumed = [at for at in self.resumes if at >= self.pauses[-1]]
        self.counted_since = max(circuit.since, resumed[0] if resumed and not self.is_paused else circuit.since)
        return self.tally(self.counted_since, started_since=self.counted_since)

    def look(self, by: str = "run-1") -> Observation:
        self.tick()
        settled, gate = self.settled(), self.gate
        circuit, probes, blame = settled.circuit, Tally(), ""
        if circuit is not None and circuit.phase is Phase.HALF_OPEN:
            probes = self.trial(circuit)
        elif (
            (circuit is None or circuit.phase is Phase.CLOSED)
            and not gate.is_paused
            and self.is_failing(self.evidence(circuit))
        ):
            blame = "its runs fail"
        case = Case(gate, circuit, self.wish, blame, probes=probes)
        return Observation(gate, settled, next_turn(case, Rules(THRESHOLD, RECOVERY, self.now, by)), self.now)

    def act(self, seen: Observation, survives: int = ALL) -> bool:
        """Carry a turn out, write by write; whether its record could be taken."""
        circuit = seen.turn.circuit
        if seen.turn.verb is Verb.LEAVE:
            self.keep(seen, survives)
            return True
        assert circuit is not None
        abandoned = seen.settled.abandoned
        if survives == NONE or not self.has_died(abandoned):
            return True
        if abandoned is not None:
            self.kept.pop(abandoned, None)
        if circuit.step in self.kept:
            return False
        self.kept[circuit.step] = Kept(circuit, self.now)
        if survives >= POOL:
            self.tick()
            self.patch(seen)
        if survives >= MARK:
            self.tick()
            self.mark(circuit, survives)
        return True

    def patch(self, seen: Observation) -> None:
        changes, circuit = seen.turn.changes, seen.turn.circuit
        assert circuit is not None
        if "is_paused" in changes:
            assert not (self.person_paused and changes["is_paused"] is False), "resumed what a person paused"
            if changes["is_paused"] and not circuit.forced:
                self.check_evidence()
            self.is_paused = bool(changes["is_paused"])
            (self.pauses if self.is_paused else self.resumes).append(self.now)
        if "concurrency_limit" in changes:
            limit = changes["concurrency_limit"]
            assert limit is None or isinstance(limit, int)
            self.limits_set.append((self.now, True))
            self.limit = limit
        if "description" in changes:
            description = changes["description"]
            assert description is None or isinstance(description, str)
            self.description = description
            self.tags |= {note.tag for note in [read_note(description)] if note}

    def check_evidence(self) -> None:
        """What counted ended after a person resumed it."""
        resumed = self.person_resumed_at
        assert resumed is None or self.counted_since >= resumed, "paused on old evidence"

    def mark(self, circuit: Circuit, survives: int = ALL) -> None:
        self.kept[circuit.step] = Kept(circuit.model_copy(update={"applied": True}), self.now)
        if survives == ALL:
            self.kept = {step: each for step, each in self.kept.items() if step >= circuit.step}

    def keep(self, seen: Observation, survives: int) -> None:
        """The upkeep of what is left alone."""
        circuit, settled = seen.turn.circuit, seen.settled
        if survives == NONE:
            return
        for step in settled.outdated:
            self.kept.pop(step, None)
        if settled.abandoned is not None and self.has_died(settled.abandoned):
            self.kept.pop(settled.abandoned, None)
        if circuit is None or survives == RECORD:
            return
        own = self.kept.get(circuit.step)
        if own is None:
            self.kept[circuit.step] = Kept(circuit, self.now)
        elif settled.is_repaired:
            self.mark(circuit, survives)
        elif circuit != own.circuit:
            self.kept[circuit.step] = Kept(circuit, self.now)

    def has_died(self, step: int | None) -> bool:
        return step is None or step not in self.kept or self.now - self.kept[step].at >= DEAD_AFTER

    def person_pauses(self) -> None:
        self.tick()
        self.is_paused = self.person_paused = True
        self.pauses.append(self.now)

    def person_resumes(self) -> None:
        self.tick()
        self.is_paused = self.person_paused = False
        self.person_resumed_at = self.now
        self.resumes.append(self.now)

    def person_sets_limit(self, limit: int | None) -> None:
        """Prefect tells of a change only where there is one."""
        self.tick()
        if limit != self.limit:
            self.limits_set.append((self.now, False))
            self.limit = self.person_limit = limit

    def owner_writes(self, text: str | None) -> None:
        """Anew beneath the note, where there is one."""
        self.tick()
        found = NOTE.search(self.description or "")
        self.owners = text
        self.description = text if found is None else found[0] + ("" if text is None else BETWEEN + text)

    def owner_erases_the_note(self, text: str | None) -> None:
        self.tick()
        self.description = self.owners = text

    def recreate(self, limit: int | None, text: str | None) -> None:
        self.tick()
        fresh = Model(now=self.now, generation=self.generation + 1, wish=self.wish)
        self.__dict__.update(fresh.__dict__)
        self.limit = self.person_limit = limit
        self.description = self.owners = text

    def run(self, *, is_good: bool, times: int = 1, took: timedelta = timedelta(seconds=1)) -> None:
        for _ in range(times):
            self.tick(timedelta(seconds=2))
            self.runs.append(Run(self.now - took, self.now, is_good))

    @property
    def is_at_rest(self) -> bool:
        settled = self.settled()
        return settled.abandoned is None and (settled.circuit is None or settled.circuit.phase is Phase.CLOSED)

    def recovers(self) -> bool:
        """Whether looks that go on, with good runs, bring it back."""
        self.wish = Wish.AUTO
        for _ in range(LOOKS_TO_RECOVER):
            if self.is_at_rest:
                return True
            self.tick(timedelta(minutes=RECOVERY.max_cooldown_minutes))
            if not self.is_paused:
                self.run(is_good=True, times=RECOVERY.probe_runs)
            self.act(self.look())
        return self.is_at_rest


class CircuitMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @initialize(limit=limits, text=descriptions, phase=st.sampled_from(Phase), survives=survived)
    def begin(self, limit: int | None, text: str | None, phase: Phase, survives: int) -> None:
        """In each phase; a keeper may have died in the turn that led there."""
        self.model.recreate(limit, text)
        if phase is not Phase.CLOSED:
            self.model.run(is_good=False, times=3)
            self.model.act(self.model.look(), ALL if phase is Phase.HALF_OPEN else survives)
        if phase is Phase.HALF_OPEN:
            self.model.tick(timedelta(minutes=12))
            self.model.act(self.model.look(), survives)

    @precondition(lambda self: not self.model.is_paused)
    @rule(is_good=st.booleans(), times=st.sampled_from([1, 2, 3, 10]))
    def runs_start_and_end(self, *, is_good: bool, times: int) -> None:
        self.model.run(is_good=is_good, times=times)

    @rule(is_good=st.booleans(), times=st.sampled_from([1, 3]))
    def runs_end_that_started_before(self, *, is_good: bool, times: int) -> None:
        self.model.run(is_good=is_good, times=times, took=timedelta(hours=9))

    @rule(minutes=st.sampled_from([0.5, 5, 12, 30, 70]))
    def time_passes(self, minutes: float) -> None:
        self.model.tick(timedelta(minutes=minutes))

    @precondition(lambda self: not self.model.is_paused)
    @rule()
    def a_person_pauses(self) -> None:
        self.model.person_pauses()

    @precondition(lambda self: self.model.is_paused)
    @rule()
    def a_person_resumes(self) -> None:
        self.model.person_resumes()

    @rule(limit=limits)
    def a_person_sets_the_limit(self, limit: int | None) -> None:
        self.model.person_sets_limit(limit)

    @rule(text=descriptions)
    def the_owner_writes_a_description(self, text: str | None) -> None:
        self.model.owner_writes(text)

    @rule(wish=st.sampled_from([Wish.AUTO, *Wish]))
    def a_person_wishes(self, wish: Wish) -> None:
        self.model.tick()
        self.model.wish = wish

    @precondition(lambda self: self.model.generation < 3)
    @rule(limit=limits, text=descriptions)
    def the_pool_is_deleted_and_created_anew(self, limit: int | None, text: str | None) -> None:
        self.model.recreate(limit, text)

    @rule(survives=survived)
    def the_keeper_looks(self, survives: int) -> None:
        self.model.act(self.model.look(), survives)

    @rule(minutes=st.sampled_from([0.5, 5, 12, 70]), survives=survived)
    def the_keeper_looks_later(self, minutes: float, survives: int) -> None:
        self.model.tick(timedelta(minutes=minutes))
        self.model.act(self.model.look(), survives)

    @rule(survives=survived)
    def two_keepers_look_at_once(self, survives: int) -> None:
        one, other = self.model.look("run-1"), self.model.look("run-2")
        before = set(self.model.kept) - {one.settled.abandoned}
        self.model.act(one, survives)
        if other.turn.verb is Verb.LEAVE:
            return
        assert other.turn.circuit is not None
        is_taken = other.turn.circuit.step in set(self.model.kept) - before
        assert not (is_taken and one.settled.abandoned is None and self.model.act(other))

    @invariant()
    def what_a_person_paused_stays_paused(self) -> None:
        assert self.model.is_paused or not self.model.person_paused

    @invariant()
    def at_most_one_note_stands_before_the_owners_own_words(self) -> None:
        assert len(NOTE.findall(self.model.description or "")) <= 1
        assert without_note(self.model.description) == self.model.owners

    @invariant()
    def at_rest_it_is_as_the_person_left_it(self) -> None:
        if self.model.is_at_rest:
            assert self.model.limit == self.model.person_limit
            assert self.model.description == self.model.owners
            assert self.model.is_paused == self.model.person_paused

    @invariant()
    def what_no_person_paused_has_a_lease_that_ends(self) -> None:
        if self.model.is_paused and not self.model.person_paused:
            circuit = self.model.settled().circuit
            assert circuit is not None
            assert circuit.phase is Phase.OPEN
            assert circuit.until is not None or circuit.forced

    def teardown(self) -> None:
        assert self.model.recovers()
        self.at_rest_it_is_as_the_person_left_it()


TestCircuitMachine = CircuitMachine.TestCase
TestCircuitMachine.settings = settings(max_examples=500, stateful_step_count=40)


def opened(survives: int = ALL) -> Model:
    """A pool with a limit of 10 that was paused because its runs failed."""
    model = Model()
    model.recreate(10, "Nightly loads")
    model.run(is_good=False, times=3)
    model.act(model.look(), survives)
    return model


def on_trial() -> Model:
    model = opened()
    model.tick(timedelta(minutes=12))
    model.act(model.look())
    return model


def test_a_pool_whose_probe_runs_fail_again_and_again_recovers_once_they_do_not() -> None:
    model = on_trial()
    for _ in range(5):
        model.run(is_good=False, times=2)
        model.act(model.look())
        assert model.is_paused
        model.tick(timedelta(minutes=66))
        model.act(model.look())
        assert not model.is_paused
    assert model.recovers()
    assert (model.limit, model.description) == (10, "Nightly loads")


def test_a_limit_that_a_person_sets_to_the_probe_limit_after_an_unmarked_closing_stays() -> None:
    model = on_trial()
    model.run(is_good=True, times=2)
    model.act(model.look(), POOL)
    model.person_sets_limit(2)
    model.tick(timedelta(minutes=5))
    model.act(model.look())
    assert model.limit == 2


def test_a_limit_that_a_person_sets_to_the_probe_limit_stays() -> None:
    model = on_trial()
    model.person_sets_limit(7)
    model.act(model.look())
    model.person_sets_limit(2)
    model.run(is_good=True, times=2)
    model.act(model.look())
    assert model.limit == 2


def test_a_pause_and_a_resume_between_two_looks_begin_a_trial_anew() -> None:
    model = on_trial()
    model.run(is_good=False, times=2)
    model.person_pauses()
    model.person_resumes()
    model.act(model.look())
    assert not model.is_paused


def test_a_person_who_resumes_and_pauses_before_the_mark_is_made_is_seen() -> None:
    model = opened(POOL)
    model.person_resumes()
    model.person_pauses()
    model.act(model.look())
    model.tick(timedelta(minutes=12))
    model.act(model.look())
    assert model.is_at_rest
    assert model.is_paused


def test_an_unmarked_pause_whose_note_was_erased_still_ends() -> None:
    model = opened(POOL)
    model.owner_erases_the_note("Mine")
    model.tick(timedelta(minutes=1))
    model.act(model.look())
    assert model.recovers()
    assert not model.is_paused


def test_an_unmarked_trial_whose_note_was_erased_still_gives_the_limit_back() -> None:
    model = opened()
    model.tick(timedelta(minutes=12))
    model.act(model.look(), POOL)
    model.owner_erases_the_note("Mine")
    assert model.recovers()
    assert model.limit == 10


def test_a_pause_whose_note_was_erased_still_ends_after_a_closing_that_died() -> None:
    model = opened()
    model.owner_erases_the_note("Mine")
    model.wish = Wish.DISABLED
    model.act(model.look(), RECORD)
    assert model.recovers()
    assert not model.is_paused


def test_a_marked_pause_whose_note_was_erased_ends_as_any_other() -> None:
    model = opened()
    model.owner_erases_the_note("Mine")
    assert model.recovers()
    assert (model.is_paused, model.limit, model.description) == (False, 10, "Mine")

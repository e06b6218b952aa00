"""Which runs hold a slot although nobody works on them: both the run and its worker must say so."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from flows.policy.cleanup.kinds import Found, Scope, verdict
from flows.policy.facts import MISSED_HEARTBEATS, PoolFacts, WorkerFacts
from flows.policy.plan import Kind, Target, Verb, Verdict
from flows.policy.words import counted, lasting

# The states in which a run holds a slot, or is on its way out of one.
ACTIVE = ("PENDING", "RUNNING", "CANCELLING")
# What a worker calls the state when it has claimed a run; once its name is on the run, it calls it by another name.
CLAIMED = "Pending"
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that a worker (the last one) has taken and that has not ended. `state_id` changes with every change of its
    state, in which it is `since` then; `starts` counts how often it was running."""

    id: str
    name: str
    pool: str | None
    state_type: str
    state_name: str
    state_id: str
    since: datetime
    worker: str | None = None
    starts: int = 0
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StuckFacts:
    """Runs, the workers by pool (a pool that is gone is missing), and by run id when its last heartbeats arrived."""

    runs: tuple[ActiveRun, ...] = ()
    workers: Mapping[str, Sequence[WorkerFacts]] = field(default_factory=dict)
    heartbeats: Mapping[str, Sequence[datetime]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sign:
    """Whether it says that nobody works on a run (None: it cannot tell), and what it says."""

    says_so: bool | None
    words: str
    length: timedelta | None = None


def is_old(run: ActiveRun, scope: Scope) -> bool:
    return scope.now - run.since > scope.retention.stuck


def to_listen_to(facts: StuckFacts, scope: Scope) -> tuple[str, ...]:
    """The ids of the runs whose heartbeats decide: those whose worker is not known to be online."""
    old, pools = (run for run in facts.runs if run.state_type != "PENDING" and is_old(run, scope)), _pools(scope)
    return tuple(run.id for run in old if _absence(run, facts, scope, pools).says_so is not False)


def decide_stuck_runs(facts: StuckFacts, scope: Scope) -> Found:
    """Crash (or finish cancelling) what both signs say nobody works on; where one of them does not, say which."""
    pools = _pools(scope)
    verdicts, left = list[Verdict](), Counter[str]()
    for run in sorted(facts.runs, key=lambda each: (each.since, each.id)):
        absence, silence = _absence(run, facts, scope, pools), _silence(run, facts, scope)
        if not is_old(run, scope):
            left[f"active for less than {lasting(scope.retention.stuck)}"] += 1
        elif run.state_type == "RUNNING" and absence.says_so is False:
            left["running, and a worker is online that works on them"] += 1
        elif run.state_type == "RUNNING" and absence.says_so is None and silence.says_so is False:
            left["running, with heartbeats"] += 1
        else:
            verdicts.append(_judge(run, absence, silence, scope))
    return Found(tuple(verdicts), left)


def _judge(run: ActiveRun, absence: Sign, silence: Sign, scope: Scope) -> Verdict:
    target, age, runs = Target(Kind.RUN, run.name, run.id, run.pool), scope.now - run.since, run.state_type == "RUNNING"
    stands = f"{run.state_type.capitalize()} for {lasting(age)}"
    stands += f", {silence.words}" if runs and silence.says_so else ""
    both = f"{stands}, and {absence.words}"
    verb, kept = Verb.LEAVE, sorted(run.tags.intersection(scope.retention.keep_tags))
    if protected := scope.protection.reason(target):
        reason = protected
    elif not absence.says_so:
        reason = f"{stands}, but {absence.words}"
    elif silence.says_so is False or (runs and not silence.says_so):
        reason = f"{both}, but {silence.words}"
    elif kept:
        reason = f"{both}, but its tag {kept[0]!r} protects it"
    else:
        # Prefect lets a run that is being cancelled become nothing but cancelled, unless it is forced.
        verb, reason = Verb.CANCEL if run.state_type == "CANCELLING" else Verb.CRASH, both
    lengths = {"in_state": age, "since_heartbeat": silence.length, "since_worker": absence.length}
    numbers = {f"minutes_{name}": round(each / MINUTE, 1) for name, each in lengths.items() if each is not None}
    return verdict("stuck-runs", verb, target, reason, **numbers)


def _pools(scope: Scope) -> dict[str, PoolFacts]:
    return {pool.name: pool for pool in scope.pools if pool.name not in scope.protection.pools}


def _absence(run: ActiveRun, facts: StuckFacts, scope: Scope, pools: Mapping[str, PoolFacts]) -> Sign:
    """Whether the worker that took the run is not there or, where none is known, no worker of its pool is."""
    if unknown := _unknown(run, facts, pools):
        return Sign(None, unknown)
    workers = {worker.name: worker for worker in facts.workers[run.pool or ""]}
    # A run that has run before bears the name of that time's worker until the next one has put its own on it.
    may_be_of_earlier = run.starts > 0 and run.state_type == "PENDING" and run.state_name == CLAIMED
    if run.worker is None or may_be_of_earlier:
        online = sum(worker.is_online(scope.now) for worker in workers.values())
        there = counted(online, "online worker") if online else "no worker online"
        return Sign(not online, f"its work pool has {there}")
    worker = workers.get(run.worker)
    if worker is None or worker.last_heartbeat_at is None:
        return Sign(True, f"its worker {run.worker!r} is gone")
    unheard = scope.now - worker.last_heartbeat_at
    if worker.is_online(scope.now):
        return Sign(False, f"its worker {run.worker!r} is online")
    return Sign(True, f"its worker {run.worker!r} was last heard of {lasting(unheard)} ago", unheard)


def _unknown(run: ActiveRun, facts: StuckFacts, pools: Mapping[str, PoolFacts]) -> str:
    if run.pool is None:
        return "it has no work pool, so no worker can be looked for"
    if run.pool not in pools:
        return "its work pool is not one that may be touched"
    if not pools[run.pool].has_workers:
        return f"work pools of type {pools[run.pool].type} have no workers of their own"
    return "" if run.pool in facts.workers else "its work pool is gone by now"


def _silence(run: ActiveRun, facts: StuckFacts, scope: Scope) -> Sign:
    """Whether the run has stopped sending heartbeats, also since it was started again."""
    beats = sorted(facts.heartbeats.get(run.id, ()))
    if run.state_type == "PENDING" or not beats:
        return Sign(None, "no heartbeats are known of it")
    usual = timedelta(seconds=median((b - a).total_seconds() for a, b in pairwise(beats)) if len(beats) > 1 else 0)
    length = max(scope.now - beats[-1], timedelta(0))
    if scope.now - max(beats[-1], run.since) > max(scope.retention.stuck, usual * MISSED_HEARTBEATS):
        return Sign(True, f"without heartbeat for {lasting(length)}", length)
    return Sign(False, f"its last heartbeat came {lasting(length)} ago", length)

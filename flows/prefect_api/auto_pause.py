"""What auto-pause observes: every pool that was asked for, every pool that fails, and every circuit that stands."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flows.policy.blame import Suspect, place_blame
from flows.policy.case import ROUNDED, Rules
from flows.policy.circuit import Circuit, Gate, Phase
from flows.policy.facts import PoolFacts
from flows.policy.failure_threshold import FailureThreshold, Tally
from flows.policy.override import read_overrides
from flows.policy.pause_note import is_by_hand
from flows.policy.plan import ActionLimit, Kind
from flows.policy.protection import Protection
from flows.policy.recovery import Recovery
from flows.policy.selection import Selection, select_pools, select_remaining
from flows.policy.settling import settle
from flows.policy.watched import AutoPauseFacts, Watched, WatchedPool
from flows.prefect_api.bookings import Booking
from flows.prefect_api.circuits import Memory, read_memory
from flows.prefect_api.client import Api
from flows.prefect_api.deployments import count_deployments
from flows.prefect_api.failures import (
    Failures,
    Since,
    read_failures,
    tally_deployments,
    tally_pool,
    tally_probes,
)
from flows.prefect_api.flow_runs import of_deployment
from flows.prefect_api.gates import deployment_gates, pool_gate
from flows.prefect_api.keeper import read_keeper
from flows.prefect_api.touches import (
    is_limit_theirs,
    is_paused_anew,
    is_written_late,
    known_tags,
    resumed_at,
    wait_for_events,
)
from flows.prefect_api.waiting import read_waiting
from flows.prefect_api.work_pools import read_pools

# Pools with a few failed runs, too few to matter, are counted whole where there are no more than these.
COUNTED_FOR_THEIR_WORDS = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of the flow beside the pools."""

    threshold: FailureThreshold
    recovery: Recovery
    limit: ActionLimit
    dry_run: bool

    @property
    def as_parameters(self) -> dict[str, Any]:
        """For a run that is booked."""
        models = {"threshold": self.threshold, "recovery": self.recovery, "limit": self.limit}
        return {name: model.model_dump() for name, model in models.items()} | {"dry_run": self.dry_run}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: which pools, by which rules; what is kept of circuits; and what is never touched."""

    selection: Selection
    rules: Rules
    every_pool: Sequence[PoolFacts]
    memory: Memory
    protection: Protection
    booking: Booking


async def open_question(api: Api, pools: Sequence[str], exclude: Sequence[str], settings: Settings) -> Question:
    """Everything to start from.

    The pools are read before what is kept of their circuits: a note is written after its record, so that none is seen
    without it.
    """
    now = await api.server_time()
    keeper = await read_keeper(api)
    every_pool = await read_pools(api)
    select = select_remaining if keeper.is_nudged else select_pools
    return Question(
        select(pools, exclude, [pool.name for pool in every_pool]),
        Rules(settings.threshold, settings.recovery, now, keeper.run_id),
        every_pool,
        await read_memory(api, dry_run=settings.dry_run),
        keeper.protection,
        Booking(keeper.deployments.get("auto_pause"), settings.as_parameters),
    )


async def observe_circuits(api: Api, question: Question) -> AutoPauseFacts:
    """The evidence about all of them; whoever is asked for, all the server's pools are judged, to know an outage."""
    rules, memory, every_pool = question.rules, question.memory, question.every_pool
    overrides = read_overrides(memory.overrides)
    names = frozenset(question.selection.names)
    if not names:
        return AutoPauseFacts(question.selection, (), overrides, question.protection, {})
    since = rules.now - rules.threshold.window
    failures = await read_failures(api, rules.threshold, since, [pool.name for pool in every_pool])
    gates = await deployment_gates(api, [id_ for kind, id_ in memory.circuits if kind == Kind.DEPLOYMENT])
    look = _Look(api, memory, question, failures, gates)
    there = {pool.id for pool in every_pool} | gates.keys()
    wanted = [pool for pool in every_pool if pool.name in names or look.may_matter(pool)]
    return AutoPauseFacts(
        selection=question.selection,
        pools=tuple(await asyncio.gather(*(look.at(pool, len(wanted)) for pool in wanted))),
        overrides=overrides,
        protection=question.protection,
        there={Kind.POOL: len(every_pool), Kind.DEPLOYMENT: await count_deployments(api, {})},
        gone=tuple(key for key in memory.circuits if key[1] not in there),
        strays=tuple([await look.circuit(gate) for gate in map(look.stray, gates.values()) if gate]),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at the pools, one after the other, at one moment."""

    api: Api
    memory: Memory
    question: Question
    failures: Failures
    gates: Mapping[str, Gate]

    def may_matter(self, pool: PoolFacts) -> bool:
        """Whether a pool that nobody asked for may be failing, or has something that is paused."""
        if self.failures.count(pool.name) >= self.question.rules.threshold.fewest_failures:
            return True
        return any(kept[-1].circuit.pool == pool.name for kept in self.memory.circuits.values())

    def stray(self, gate: Gate) -> Gate | None:
        """A deployment that has lost its pool, or has been moved to the keeper's, as one of no pool."""
        if gate.target.pool is not None and gate.target.pool not in self.question.protection.pools:
            return None
        return replace(gate, target=replace(gate.target, pool=None))

    async def at(self, pool: PoolFacts, pools_looked_at: int) -> WatchedPool:
        gate = pool_gate(pool)
        if self.question.protection.reason(gate.target):
            return WatchedPool(Watched(gate))
        own = await self.circuit(gate)
        kept = [await self.circuit(each) for each in self.gates.values() if each.target.pool == pool.name]
        failed = self.failures.count(pool.name)
        last = max((run.ended_at for run in self.failures.runs.get(pool.name, ())), default=None)
        own = replace(own, failed=failed, last_failed_at=last)
        too_few = failed < self.question.rules.threshold.fewest_failures
        if own.is_standing or gate.is_paused or not failed or (too_few and pools_looked_at > COUNTED_FOR_THEIR_WORDS):
            return WatchedPool(own, tuple(kept))
        since = await self._since(own, kept)
        watched = await self._evidence(own, kept, since)
        later = await self._resumed(watched, since)
        return await self._evidence(own, kept, later) if later != since else watched

    async def circuit(self, gate: Gate) -> Watched:
        """A pool or deployment with its circuit, and what the next turn of that needs to know."""
        kept, rules = self.memory.of(gate.target), self.question.rules
        is_shadow = bool(kept) and kept[-1].is_shadow
        if is_shadow:
            gate = _as_if_carried_out(gate, kept[-1].circuit)
        elif kept or gate.note:
            gate = await self._touched(gate, [each.circuit for each in kept])
        watched = Watched(gate, settle([each.circuit for each in kept], gate, rules.now))
        circuit = watched.settled.circuit
        if circuit is None or circuit.phase is Phase.CLOSED:
            return watched
        if circuit.phase is Phase.HALF_OPEN:
            return replace(watched, probes=await self._probes(gate, circuit, is_shadow=is_shadow))
        is_over = circuit.until is None or circuit.until <= rules.now
        if not (gate.is_paused and is_over):
            return watched
        return replace(watched, waiting=tuple(await read_waiting(self.api, gate.target, rules.now)))

    async def _touched(self, gate: Gate, kept: Sequence[Circuit]) -> Gate:
        """What a person did to it since the circuit's last turns, where its state alone does not tell."""
        own = self.memory.of(gate.target)
        circuits = list(kept) or [each for each in [settle([], gate, self.question.rules.now).circuit] if each]
        last = circuits[-1]
        is_told = False
        if kept and last.applied and gate.note is not None and gate.note.tag != last.tag:
            await self._events_told(gate)
            is_told = True
            late = is_written_late(self.api, gate.target, gate.note, last.since, is_paused=gate.is_paused)
            gate = replace(gate, is_late=await late)
        if last.phase is Phase.CLOSED and last.applied:
            return gate
        if own and not is_told and gate.touched_at is not None and gate.touched_at > own[-1].kept_at:
            await self._events_told(gate)
        opened = [each for each in circuits if each.phase is Phase.OPEN]
        tried = [each for each in circuits if each.phase is Phase.HALF_OPEN and each.probe_limit is not None]
        taken = theirs = False
        if opened and gate.is_paused:
            since, tag = opened[-1].since, opened[-1].tag
            taken = is_by_hand(gate.description) or await is_paused_anew(self.api, gate.target, since, tag)
        elif opened and last.phase is Phase.OPEN:
            resumed = await resumed_at(self.api, gate.target, self.question.rules.now, since=last.since - ROUNDED)
            gate = replace(gate, resumed_at=resumed)
        if tried and gate.limit == tried[-1].probe_limit:
            theirs = await is_limit_theirs(self.api, gate.target, tried[-1].since)
        tags = frozenset() if last.applied else await known_tags(self.api, gate.target, last.since)
        return replace(gate, is_taken_over=taken, is_limit_theirs=theirs, known_tags=tags)

    async def _events_told(self, gate: Gate) -> None:
        """Wait until the events of the last touch are written down."""
        await wait_for_events(gate.touched_at, self.question.rules.now)

    async def _probes(self, gate: Gate, circuit: Circuit, *, is_shadow: bool) -> Tally:
        """The runs since it is half-open; since a person's resume, where there was one meanwhile."""
        target, rules = gate.target, self.question.rules
        since = circuit.since
        if not is_shadow and not gate.is_paused:
            # The keeper's own pause came before the trial was decided on.
            since = max(since, await resumed_at(self.api, target, rules.now, since=since + ROUNDED) or since)
        runs = of_deployment(target.id) if target.kind is Kind.DEPLOYMENT else {}
        return await tally_probes(self.api, runs, target.pool or target.name, since, rules.threshold)

    async def _since(self, own: Watched, kept: Sequence[Watched]) -> Since:
        """Counts start anew with each turn of a circuit; runs of what stands quarantined do not count for its pool."""
        start = self.question.rules.now - self.question.rules.threshold.window
        circuit = own.settled.circuit
        deployments: dict[str, datetime | None] = {}
        for each in kept:
            if its := each.settled.circuit:
                deployments[each.gate.target.id] = its.since if its.phase is Phase.CLOSED else None
        return Since(max(start, circuit.since) if circuit else start, deployments)

    async def _evidence(self, own: Watched, kept: Sequence[Watched], since: Since) -> WatchedPool:
        api, threshold = self.api, self.question.rules.threshold
        failed = self.failures.runs.get(own.gate.target.name, ())
        whole, by_deployment = await asyncio.gather(
            tally_pool(api, own.gate.target.name, failed, since), tally_deployments(api, failed, since, threshold)
        )
        failing = {
            each: tally
            for each, tally in by_deployment.items()
            if threshold.judge(finished=tally.finished, failed=tally.failed).is_failing
        }
        known = {each.gate.target.id: each for each in kept}
        gates = await deployment_gates(api, [each for each in failing if each not in known])
        known |= {id_: Watched(gate) for id_, gate in gates.items()}
        deployments = tuple(
            replace(each, tally=failing.get(id_), failed=failing[id_].failed if id_ in failing else 0)
            for id_, each in known.items()
        )
        return WatchedPool(replace(own, tally=whole), deployments)

    async def _resumed(self, watched: WatchedPool, since: Since) -> Since:
        """From when on runs count of what would be blamed: what failed before a person resumed it counts no more."""
        suspects = {
            each.gate.target.id: Suspect(each.gate.target.id, each.gate.target.name, each.tally)
            for each in watched.deployments
            if each.tally is not None
        }
        blame = place_blame(watched.own.tally or Tally(), tuple(suspects.values()), self.question.rules.threshold)
        now = self.question.rules.now
        if blame.pool or blame.deployments:
            await self._events_told(watched.own.gate)
        if blame.pool and (at := await resumed_at(self.api, watched.own.gate.target, now)):
            since = replace(since, pool=max(since.pool, at))
        own = dict(since.deployments)
        for each in watched.deployments:
            target = each.gate.target
            is_blamed = target.id in blame.deployments or (blame.pool and target.id in suspects)
            if is_blamed and not each.gate.is_paused:
                at = await resumed_at(self.api, target, now)
                if at is not None and at > (since.of(target.id) or now):
                    own[target.id] = at
        return replace(since, deployments=own)


def _as_if_carried_out(gate: Gate, shadow: Circuit) -> Gate:
    """What a dry run's circuits would have made of it. Where a person really paused it, that counts."""
    if shadow.phase is Phase.OPEN:
        return replace(gate, is_paused=True, is_taken_over=gate.is_paused)
    if shadow.phase is Phase.HALF_OPEN:
        return replace(gate, limit=shadow.probe_limit)
    return gate

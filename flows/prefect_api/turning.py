"""Carrying out a turn of a circuit: written down first, then done in one write, then marked as done.

Whoever dies in between leaves a record that the next run settles: it can tell from the note on the pool whether the
turn took effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import anyio

from flows.policy.case import Rules
from flows.policy.circuit import Circuit, Gate, Phase
from flows.policy.plan import Kind, Outcome, Result, Verb, Verdict
from flows.policy.suspicion import first_look
from flows.policy.watched import Decided, Decision
from flows.prefect_api.bookings import Booking, book
from flows.prefect_api.circuits import KeptCircuit, Memory, forget, keep_changed, keep_new, read_again
from flows.prefect_api.client import Api, Refused
from flows.prefect_api.gates import read_gate, set_gate
from flows.prefect_api.silence import Silence
from flows.prefect_api.waiting import drop, put_off, read_waiting, still_waiting

# A run that wrote a turn down carries it out within a second. One that has not by then has died.
DEAD_AFTER = timedelta(seconds=15)
ASK_AGAIN = 0.5
CANCELLED = "Cancelled by Poolkeeper: {}."
PUT_OFF = "Held back by Poolkeeper while its deployment is paused or on trial."
CHANGED = "it changed meanwhile; the next look decides anew"
LET_GO = "Let go by Poolkeeper."


@dataclass(frozen=True, slots=True)
class Turning:
    """Carries out what was decided, for `apply`."""

    api: Api
    decision: Decision
    memory: Memory
    rules: Rules
    booking: Booking

    async def act(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        if verdicts[0].target.kind is Kind.RUN:
            return await drop(self.api, verdicts, CANCELLED.format(verdicts[0].reason))
        decided = self.decision.turns[verdicts[0].target]
        return [await (self._tidy if decided.turn.tidies else self._turn)(verdicts[0], decided)]

    async def _tidy(self, verdict: Verdict, decided: Decided) -> Outcome:
        """Take a note away that nothing is behind any more."""
        if differs(decided.watched.gate, await read_gate(self.api, verdict.target)):
            return Outcome(verdict, Result.SKIPPED, CHANGED)
        await set_gate(self.api, verdict.target, decided.turn.changes)
        return Outcome(verdict, Result.DONE)

    async def _turn(self, verdict: Verdict, decided: Decided) -> Outcome:
        circuit = decided.turn.circuit
        if circuit is None or not await self._take_over(decided):
            return Outcome(verdict, Result.SKIPPED, "another run is doing it")
        if differs(decided.watched.gate, await read_gate(self.api, verdict.target)):
            return Outcome(verdict, Result.SKIPPED, CHANGED)
        if verdict.verb is Verb.RESUME and await self._still_waiting(decided):
            return Outcome(verdict, Result.FAILED, "its backlog could not be cancelled; it stays paused until it can")
        kept = await keep_new(self.api, circuit)
        if kept is None:
            return Outcome(verdict, Result.SKIPPED, "another run is doing it")
        try:
            await self._hold(decided, circuit)
            if decided.turn.changes:
                await set_gate(self.api, verdict.target, decided.turn.changes)
        except Refused:
            # Nothing was changed. Any other failure leaves open whether it was; then the next run finds out.
            await forget(self.api, kept)
            raise
        await self.mark(kept, circuit)
        return Outcome(verdict, Result.DONE)

    async def mark(self, kept: KeptCircuit, circuit: Circuit) -> None:
        """The turn has taken effect: earlier ones go, and the next look is booked."""
        await keep_changed(self.api, kept, circuit.model_copy(update={"applied": True}))
        for earlier in self.memory.of(circuit.target):
            if earlier.circuit.step < circuit.step:
                await forget(self.api, earlier)
        if look := first_look(circuit):
            await book(self.api, self.booking, pool=circuit.pool, look=look)

    async def _take_over(self, decided: Decided) -> bool:
        """Whether the turn is this run's: one that another run wrote down is left to it for as long as it may live."""
        step = decided.watched.settled.abandoned
        target = decided.watched.gate.target
        abandoned = next((each for each in self.memory.of(target) if each.circuit.step == step), None)
        silence = Silence(self.api)
        while abandoned is not None:
            there = await read_again(self.api, abandoned)
            if there is None or there.circuit.applied:
                return False
            if await silence.since(there.kept_at) >= DEAD_AFTER:
                return await forget(self.api, there)
            await anyio.sleep(ASK_AGAIN)
        return True

    async def _still_waiting(self, decided: Decided) -> int:
        return await still_waiting(self.api, [run.id for run in decided.dropped])

    async def _hold(self, decided: Decided, circuit: Circuit) -> None:
        """A deployment's queued runs wait with it: all while it is open, all but a few while these try."""
        gate = decided.watched.gate
        if gate.target.kind is not Kind.DEPLOYMENT:
            return
        waiting = await read_waiting(self.api, gate.target, self.rules.now)
        held = sorted((run for run in waiting if run.is_droppable), key=lambda run: (run.due_at, run.id))
        if circuit.phase is Phase.CLOSED:
            await put_off(self.api, [run.id for run in held], self.rules.now, LET_GO)
            return
        recovery = decided.rules.recovery
        until = circuit.until or self.rules.now + recovery.cooldown(circuit.reopened + 1, circuit.lease)
        if circuit.phase is Phase.HALF_OPEN:
            held = held[recovery.probe_runs :]
        await put_off(self.api, [run.id for run in held], until, PUT_OFF)


def differs(then: Gate, now: Gate) -> bool:
    """Whether somebody touched it since it was looked at."""
    return (then.is_paused, then.limit, then.description) != (now.is_paused, now.limit, now.description)

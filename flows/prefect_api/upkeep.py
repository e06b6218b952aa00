"""Keeping the record of circuits true: what took effect is marked, what is over is forgotten, shadows advance."""

from datetime import datetime, timedelta

from flows.policy.circuit import Circuit, Phase
from flows.policy.plan import Verb, Verdict
from flows.policy.suspicion import next_look
from flows.policy.watched import AutoPauseFacts, Decided
from flows.prefect_api.auto_pause import Question
from flows.prefect_api.bookings import book
from flows.prefect_api.circuits import KeptCircuit, begin_incident, end_incident, forget, keep_changed, keep_new
from flows.prefect_api.events import emit_change, emit_incident
from flows.prefect_api.turning import DEAD_AFTER, Turning

# After this time no run's evidence reaches back to the end of a pause.
CLOSED_KEPT = timedelta(days=8)
VERBS = {Phase.OPEN: Verb.PAUSE, Phase.HALF_OPEN: Verb.RESUME, Phase.CLOSED: Verb.CHANGE}


async def keep_records(turning: Turning, question: Question, facts: AutoPauseFacts, *, dry_run: bool) -> None:
    """Everything that is to be remembered after a run, beside the turns themselves."""
    if dry_run:
        await _keep_shadows(turning)
        return
    for target, decided in turning.decision.turns.items():
        if decided.turn.verb is Verb.LEAVE:
            await _keep(turning, decided, turning.memory.of(target))
    await _forget_gone(turning, question, facts)
    await _keep_incident(turning, question)
    await _look_again(turning, question)


async def _keep_shadows(turning: Turning) -> None:
    """Write down what the circuits of a dry run would be now. What is paused in truth has no shadow."""
    for target, decided in turning.decision.turns.items():
        kept, circuit = turning.memory.of(target), decided.turn.circuit
        in_force = bool(kept) and not kept[-1].is_shadow and kept[-1].circuit.phase is not Phase.CLOSED
        is_refused = decided.opens and bool(turning.decision.incident)
        if circuit is None or in_force or is_refused or decided.turn.verb is Verb.LEAVE or decided.turn.tidies:
            continue
        await keep_new(turning.api, circuit.model_copy(update={"applied": True}), shadow=True)
        for earlier in kept:
            if earlier.is_shadow:
                await forget(turning.api, earlier)


async def _forget_gone(turning: Turning, question: Question, facts: AutoPauseFacts) -> None:
    """Forget the circuits of what is gone, and the shadows of what is looked at in earnest now."""
    for shadow in turning.memory.shadows:
        if question.selection.covers(shadow.circuit.pool):
            await forget(turning.api, shadow)
    for key in facts.gone:
        for kept in turning.memory.circuits[key]:
            await forget(turning.api, kept)


async def _keep_incident(turning: Turning, question: Question) -> None:
    """One incident is one event, however many runs see it. Only a look at everything tells that it is over."""
    incident = turning.decision.incident
    if incident and await begin_incident(turning.api, incident):
        emit_incident(incident)
    elif turning.memory.has_incident and not incident and question.selection.narrowed_to is None:
        await end_incident(turning.api)


async def _look_again(turning: Turning, question: Question) -> None:
    """Book the next looks at what was left alone."""
    name = question.selection.narrowed_to
    for decided in turning.decision.turns.values():
        target = decided.watched.gate.target
        look = next_look(decided, turning.rules.now, is_sweep=name is None)
        if look is not None:
            await book(turning.api, turning.booking, pool=name or target.pool or target.name, look=look)


async def _keep(turning: Turning, decided: Decided, kept: tuple[KeptCircuit, ...]) -> None:
    """What took effect is marked, what never will or is replaced is forgotten, and what changed is written down."""
    now = turning.rules.now
    settled, circuit = decided.watched.settled, decided.turn.circuit
    by_step = {each.circuit.step: each for each in kept}
    for step in settled.outdated:
        await forget(turning.api, by_step[step])
    if settled.abandoned is not None and now - by_step[settled.abandoned].kept_at >= DEAD_AFTER:
        await forget(turning.api, by_step[settled.abandoned])
    if circuit is None:
        return
    own = by_step.get(circuit.step)
    if own is None:
        own = await keep_new(turning.api, circuit)
        if own is None:
            return
    if settled.is_repaired:
        await turning.mark(own, circuit)
        emit_change(Verdict(circuit.target, VERBS[circuit.phase], circuit.reason, {"circuit": circuit.phase}))
    elif circuit != own.circuit:
        await keep_changed(turning.api, own, circuit)
    elif _is_over(circuit, now):
        await forget(turning.api, own)


def _is_over(circuit: Circuit, now: datetime) -> bool:
    return circuit.phase is Phase.CLOSED and not circuit.forced and now - circuit.since > CLOSED_KEPT

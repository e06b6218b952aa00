"""The circuit's state machine: what happens next to one pool or deployment, and why. A person always wins."""

from flows.policy.case import ROUNDED, Case, Rules, Turn
from flows.policy.circuit import Circuit, Phase
from flows.policy.override import OVERRIDES, Wish
from flows.policy.plan import Verb
from flows.policy.turns import close, counts, pause, try_again
from flows.policy.words import counted, lasting


def next_turn(case: Case, rules: Rules) -> Turn:
    """The next turn of one target; `leave` where nothing is to be done."""
    circuit = case.circuit
    if circuit is None or circuit.phase is Phase.CLOSED:
        return _closed(case, rules)
    return _open(case, circuit, rules) if circuit.phase is Phase.OPEN else _half_open(case, circuit, rules)


def _closed(case: Case, rules: Rules) -> Turn:
    circuit = case.circuit
    if circuit is not None and circuit.forced and case.wish is not Wish.OPEN:
        circuit = circuit.model_copy(update={"forced": False})
    if case.wish is Wish.DISABLED:
        return Turn(Verb.LEAVE, f"a person switched its circuit off ({OVERRIDES})", circuit)
    if case.gate.is_paused:
        return Turn(Verb.LEAVE, "paused by a person, who alone resumes it", circuit)
    if case.wish is Wish.OPEN:
        if circuit is not None and circuit.forced:
            return Turn(Verb.LEAVE, f"a person resumed it, although {OVERRIDES} still says open", circuit)
        return pause(case, rules, f"a person wished it open ({OVERRIDES})", forced=True)
    if case.blame:
        return pause(case, rules, case.blame)
    return Turn(Verb.LEAVE, case.health, circuit, numbers=counts(case))


def _open(case: Case, circuit: Circuit, rules: Rules) -> Turn:
    if not case.gate.is_paused or case.gate.is_taken_over:
        did = "paused it anew: it stays paused until a person resumes it" if case.gate.is_paused else "resumed it"
        words = f"a person {did}; what failed before counts no more"
        return close(case, circuit, rules, words, since=case.gate.resumed_at)
    if case.wish is Wish.DISABLED:
        return close(case, circuit, rules, f"a person switched its circuit off ({OVERRIDES})", resume=True)
    if case.wish is Wish.OPEN:
        if not circuit.forced:
            return pause(case, rules, f"a person wished it open ({OVERRIDES})", forced=True)
        return Turn(Verb.LEAVE, f"open for as long as {OVERRIDES} says so", circuit)
    if circuit.until is not None and rules.now < circuit.until:
        left = lasting(circuit.until - rules.now)
        words = f"open until {circuit.until:%Y-%m-%d %H:%M:%S} UTC ({left} left): {circuit.reason}"
        return Turn(Verb.LEAVE, words, circuit)
    return try_again(case, circuit, rules)


def _half_open(case: Case, circuit: Circuit, rules: Rules) -> Turn:
    probes, wanted = case.probes, rules.recovery.probe_runs
    if case.gate.is_paused:
        return close(case, circuit, rules, "a person paused it; it stays paused until a person resumes it")
    if case.wish is Wish.DISABLED:
        return close(case, circuit, rules, f"a person switched its circuit off ({OVERRIDES})")
    if case.wish is Wish.OPEN:
        return pause(case, rules, f"a person wished it open ({OVERRIDES})", forced=True)
    failed = f"{probes.failed} of {counted(probes.finished, 'probe run')} failed"
    # It opens as soon as no further run could save it, and closes only after all of them.
    if probes.failed and probes.failed / max(probes.finished, wanted) >= rules.threshold.failure_rate:
        return pause(case, rules, f"{failed}: still failing")
    if probes.finished >= wanted:
        return close(case, circuit, rules, f"recovered: {failed}", since=rules.now - ROUNDED)
    since = lasting(rules.now - circuit.since)
    words = f"half-open for {since}: {probes.finished} of {wanted} probe runs ended, {probes.failed} failed"
    return Turn(Verb.LEAVE, words, circuit, numbers={"probes": probes.finished, "probes_failed": probes.failed})

"""What auto-pause does: one verdict for every pool that was asked for, and for each deployment that stands out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from flows.policy.backlog import drop_verdicts
from flows.policy.blame import Blame, Suspect, place_blame
from flows.policy.breaker import next_turn
from flows.policy.case import Case, Rules, Turn
from flows.policy.circuit import Phase
from flows.policy.failure_threshold import NO_RUNS
from flows.policy.outage import find_outage
from flows.policy.override import OVERRIDES, Wish
from flows.policy.pause_note import OVER, stale_note_gone
from flows.policy.plan import ActionLimit, Kind, Plan, Target, Verb, Verdict
from flows.policy.turns import close
from flows.policy.watched import AutoPauseFacts, Decided, Decision, Watched, WatchedPool

JOB = "pool-auto-pause"
GONE = "its work pool is gone, or has become the keeper's own"


def decide_circuits(facts: AutoPauseFacts, rules: Rules, limit: ActionLimit) -> Decision:
    """A turn for every watched target; verdicts only for those that were asked for."""
    turns: dict[Target, Decided] = {}
    verdicts: list[Verdict] = []
    openings: Counter[Kind] = Counter()
    failing: Counter[Kind] = Counter()
    for pool in sorted(facts.pools, key=lambda each: each.own.gate.target.name):
        name = pool.own.gate.target.name
        for decided in _decide(pool, facts, replace(rules, recovery=facts.overrides.recovery(name, rules.recovery))):
            target = decided.watched.gate.target
            failing[target.kind] += decided.opens or decided.watched.is_standing
            if name in facts.selection.names:
                openings[target.kind] += decided.opens
                turns[target] = decided
                verdicts.extend(_verdicts(decided))
    for decided in _strays(facts, rules):
        turns[decided.watched.gate.target] = decided
        verdicts.extend(_verdicts(decided))
    incident = find_outage(openings, failing, facts.there, limit)
    return Decision(Plan(JOB, tuple(verdicts)), turns, incident)


def _strays(facts: AutoPauseFacts, rules: Rules) -> Iterator[Decided]:
    for watched in facts.strays:
        circuit = watched.settled.circuit
        if circuit is not None and watched.is_standing and facts.selection.covers(circuit.pool):
            ours = circuit.phase is Phase.OPEN and not watched.gate.is_taken_over
            turn = close(Case(watched.gate, circuit), circuit, rules, GONE, resume=ours)
            yield Decided(watched, turn, rules)


def _decide(pool: WatchedPool, facts: AutoPauseFacts, rules: Rules) -> Iterator[Decided]:
    target = pool.own.gate.target
    if protected := facts.protection.reason(target):
        yield Decided(pool.own, Turn(Verb.LEAVE, protected), rules)
        return
    wish = facts.overrides.of(target.name)
    whole = pool.own.tally
    suspects = tuple(
        Suspect(each.gate.target.id, each.gate.target.name, each.tally)
        for each in pool.deployments
        if each.tally is not None and not each.is_standing
    )
    blame = place_blame(whole or NO_RUNS, suspects, rules.threshold)
    health = blame.health if whole is not None else _unjudged(pool.own.failed, rules)
    if target.name in facts.overrides.misread:
        blame, health = Blame(), f"left alone: {OVERRIDES} says of it what is not understood"
    case = Case(pool.own.gate, pool.own.settled.circuit, wish, blame.pool, health, whole, pool.own.probes)
    turn = _tidied(next_turn(case, rules), pool.own)
    yield Decided(pool.own, turn, rules)
    stands = pool.own.gate.is_paused or pool.own.is_standing or turn.verb is Verb.PAUSE
    for each in pool.deployments:
        its_blame = "" if stands else blame.deployments.get(each.gate.target.id, "")
        words = "its work pool is looked at as a whole" if stands else _own_words(each, rules)
        its_wish = Wish.DISABLED if wish is Wish.DISABLED else Wish.AUTO
        case = Case(each.gate, each.settled.circuit, its_wish, its_blame, words, each.tally, each.probes)
        yield Decided(each, next_turn(case, rules), rules)


def _tidied(turn: Turn, own: Watched) -> Turn:
    """Where nothing else is to be done: the note of a pause that a person made by hand and ended elsewhere goes."""
    description = stale_note_gone(own.gate.description, is_paused=own.gate.is_paused)
    if turn.verb is not Verb.LEAVE or description == own.gate.description:
        return turn
    return Turn(Verb.CHANGE, OVER, turn.circuit, {"description": description}, tidies=True)


def _verdicts(decided: Decided) -> Iterator[Verdict]:
    """The runs to drop go first, so that they are gone when what held them back is resumed."""
    target, turn, policy = decided.watched.gate.target, decided.turn, decided.rules.recovery.backlog
    yield from drop_verdicts(target, decided.dropped, policy)
    yield Verdict(target, turn.verb, turn.reason, turn.numbers)


def _unjudged(failed: int, rules: Rules) -> str:
    threshold = rules.threshold
    if not failed:
        return f"no run failed in the last {threshold.window_minutes} min"
    return (
        f"{failed} failed in the last {threshold.window_minutes} min, fewer than the {threshold.fewest_failures} "
        f"that could matter ({threshold.failure_rate:.0%} of at least {threshold.minimum_runs})"
    )


def _own_words(each: Watched, rules: Rules) -> str:
    tally = each.tally or NO_RUNS
    return rules.threshold.judge(finished=tally.finished, failed=tally.failed).words

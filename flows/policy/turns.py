"""The turns a circuit can take, each with what it sets on the pool or deployment: pause, try again, close."""

from datetime import datetime
from hashlib import sha256

from flows.policy.case import ROUNDED, Case, Changes, Rules, Turn
from flows.policy.circuit import Circuit, Phase
from flows.policy.lease import LONGEST_REASON, with_note, without_note
from flows.policy.override import OVERRIDES, Wish
from flows.policy.pause_note import stale_note_gone
from flows.policy.plan import Kind, Number, Verb
from flows.policy.words import counted


def pause(case: Case, rules: Rules, reason: str, *, forced: bool = False) -> Turn:
    """Open: for the first time, or again and for longer; `forced` until a person takes the wish back."""
    before, reason = case.circuit, reason[:LONGEST_REASON]
    if before is None or before.phase is Phase.CLOSED:
        before, reopened = _opening(case, rules, reason), 0
    else:
        reopened = before.reopened + (not forced)
    until = None if forced else rules.now + rules.recovery.cooldown(reopened, before.lease)
    after = before.turned(
        Phase.OPEN, rules.now, reason,
        until=until, reopened=reopened, forced=forced, former_limit=None, probe_limit=None,
        # What is paused already stays paused since then.
        since=before.since if case.gate.is_paused else rules.now,
    )  # fmt: skip
    end = f"until {until:%Y-%m-%d %H:%M:%S} UTC; then a few runs try" if until else f"until {OVERRIDES} lets it go"
    words = (
        f"paused by pool-auto-pause on {rules.now:%Y-%m-%d %H:%M:%S} UTC {end}. Why: {reason}. To end it, resume it."
    )
    own = stale_note_gone(case.gate.description, is_paused=case.gate.is_paused)
    changes: Changes = {} if case.gate.is_paused else {"is_paused": True}
    changes |= {"description": with_note(own, words, after.tag)} | limit_back(case)
    numbers: dict[str, Number] = {"circuit": Phase.OPEN, "reopened": reopened}
    if until is not None:
        numbers |= {"until": until.isoformat(), "minutes": round((until - rules.now).total_seconds() / 60, 2)}
    verb = Verb.CHANGE if case.gate.is_paused else Verb.PAUSE
    return Turn(verb, reason, after, changes, numbers | counts(case))


def try_again(case: Case, circuit: Circuit, rules: Rules) -> Turn:
    """Half-open: resumed at the probe limit, or at the pool's own where that is lower."""
    limit, probe = limit_back(case).get("concurrency_limit", case.gate.limit), None
    if case.gate.target.kind is Kind.POOL:
        probe = min(rules.recovery.probe_limit, rules.recovery.probe_limit if limit is None else limit)
    runs = counted(rules.recovery.probe_runs, "run")
    reason = f"its pause is over: {runs} may try" + ("" if probe is None else f" at concurrency limit {probe}")
    after = circuit.turned(
        Phase.HALF_OPEN, rules.now, reason,
        former_limit=limit, probe_limit=probe, forced=False, since=max(circuit.since, rules.now - ROUNDED),
    )  # fmt: skip
    words = (
        f"trying again since {rules.now:%Y-%m-%d %H:%M:%S} UTC (pool-auto-pause); {runs} decide. "
        f"Why it was paused: {circuit.reason}. Former limit: {'none' if limit is None else limit}."
    )
    changes: Changes = {"is_paused": False, "description": with_note(case.gate.description, words, after.tag)}
    if probe != limit and probe is not None:
        changes["concurrency_limit"] = probe
    return Turn(Verb.RESUME, reason, after, changes, {"circuit": Phase.HALF_OPEN, "probe_limit": probe})


def close(
    case: Case, circuit: Circuit, rules: Rules, reason: str, *, resume: bool = False, since: datetime | None = None
) -> Turn:
    """Closed: the note goes, the former limit comes back; what was paused is resumed only where that is asked for.

    What ended before `since` counts no more; if not told otherwise, before now.
    """
    after = circuit.turned(
        Phase.CLOSED, rules.now, reason,
        former_limit=None, probe_limit=None, reopened=0, forced=case.wish is Wish.OPEN, since=since or rules.now,
    )  # fmt: skip
    changes: Changes = {"is_paused": False} if resume and case.gate.is_paused else {}
    changes |= limit_back(case)
    if (own := without_note(case.gate.description)) != case.gate.description:
        changes["description"] = own
    verb = Verb.RESUME if "is_paused" in changes else Verb.CHANGE
    return Turn(verb, reason, after, changes, {"circuit": Phase.CLOSED} | counts(case))


def limit_back(case: Case) -> Changes:
    """The former limit, where the probe limit is still as the keeper set it: a person's own change stays."""
    circuit = case.circuit
    if circuit is None or circuit.probe_limit is None or case.gate.limit != circuit.probe_limit:
        return {}
    if case.gate.is_limit_theirs:
        return {}
    return {} if circuit.former_limit == circuit.probe_limit else {"concurrency_limit": circuit.former_limit}


def counts(case: Case) -> dict[str, Number]:
    return {} if case.tally is None else {"finished": case.tally.finished, "failed": case.tally.failed}


def _opening(case: Case, rules: Rules, reason: str) -> Circuit:
    """What a first pause starts from: a new lease, and the story so far."""
    target, before = case.gate.target, case.circuit
    lease = sha256(f"{target.id} {rules.now.isoformat()} {rules.by}".encode()).hexdigest()[:8]
    return Circuit(
        kind=target.kind,
        id=target.id,
        name=target.name,
        pool=target.pool or target.name,
        step=before.step if before else 0,
        phase=Phase.CLOSED,
        since=rules.now,
        lease=lease,
        reason=reason,
        opened_at=rules.now,
        story=before.story if before else (),
    )

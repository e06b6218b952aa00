"""Circuits, gates and pools that are watched, for tests: each builder makes an ordinary one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flows.policy.backlog import WaitingRun
from flows.policy.case import Case, Rules
from flows.policy.circuit import Circuit, Gate, Phase
from flows.policy.failure_threshold import FailureThreshold
from flows.policy.lease import with_note
from flows.policy.override import Overrides
from flows.policy.plan import Kind, Target
from flows.policy.protection import Protection
from flows.policy.recovery import Recovery
from flows.policy.selection import select_pools
from flows.policy.settling import Settled
from flows.policy.watched import AutoPauseFacts, Watched, WatchedPool
from tests.builders import NOW, ago, coming

LEASE = "0123abcd"


def pool_target(name: str = "etl") -> Target:
    return Target(Kind.POOL, name, f"id-{name}", pool=name)


def deployment_target(name: str = "flow/nightly", pool: str | None = "etl") -> Target:
    return Target(Kind.DEPLOYMENT, name, f"id-{name}", pool=pool)


def gate(target: Target | None = None, **changed: Any) -> Gate:
    """A pool that is not paused, with a limit of 10."""
    usual = Gate(target or pool_target(), is_paused=False, limit=10, description="Nightly loads")
    return replace(usual, **changed)


def circuit(phase: Phase = Phase.OPEN, *, of: Target | None = None, **changed: Any) -> Circuit:
    """Open since a minute, half-open with a former limit of 10, or closed since a minute."""
    target = of or pool_target()
    usual: dict[str, Any] = {
        "kind": target.kind,
        "id": target.id,
        "name": target.name,
        "pool": target.pool or target.name,
        "step": {Phase.OPEN: 1, Phase.HALF_OPEN: 2, Phase.CLOSED: 3}[phase],
        "phase": phase,
        "since": ago(minutes=1),
        "lease": LEASE,
        "reason": "5 of 10 runs failed",
        "opened_at": ago(minutes=1),
        "applied": True,
    }
    if phase is Phase.OPEN:
        usual["until"] = coming(minutes=9)
    if phase is Phase.HALF_OPEN:
        usual |= {"former_limit": 10, "probe_limit": 1}
    return Circuit(**{**usual, **changed})


def noted(by: Circuit, target: Target | None = None, **changed: Any) -> Gate:
    """The gate as this circuit's turn left it."""
    usual = gate(target or by.target)
    limit = by.probe_limit if by.phase is Phase.HALF_OPEN else usual.limit
    former = f" Former limit: {'none' if by.former_limit is None else by.former_limit}."
    words = "why" if by.phase is Phase.OPEN else f"trying.{former}"
    found = replace(
        usual,
        is_paused=by.phase is Phase.OPEN,
        limit=limit,
        description=usual.description if by.phase is Phase.CLOSED else with_note(usual.description, words, by.tag),
    )
    return replace(found, **changed)


def case(its: Circuit | None = None, **changed: Any) -> Case:
    """What decides about a pool with this circuit, whose gate is as the circuit left it."""
    usual = Case(gate() if its is None else noted(its), its)
    return replace(usual, **changed)


def rules(**changed: Any) -> Rules:
    return replace(Rules(FailureThreshold(), Recovery(), NOW, by="run-1"), **changed)


def recovery(**changed: Any) -> Recovery:
    return Recovery.model_validate(changed)


def watched(its: Circuit | None = None, **changed: Any) -> Watched:
    usual = Watched(gate() if its is None else noted(its), Settled(its))
    return replace(usual, **changed)


def watched_pool(name: str = "etl", *deployments: Watched, **changed: Any) -> WatchedPool:
    return WatchedPool(watched(**{"gate": gate(pool_target(name)), **changed}), deployments)


def auto_pause_facts(
    *pools: WatchedPool,
    asked: tuple[str, ...] = ("*",),
    there: Mapping[Kind, int] | None = None,
    overrides: Overrides | None = None,
    protected: frozenset[str] = frozenset(),
    strays: tuple[Watched, ...] = (),
) -> AutoPauseFacts:
    """What is seen of these pools, which are all there are unless told otherwise."""
    names = [each.own.gate.target.name for each in pools]
    return AutoPauseFacts(
        selection=select_pools(asked, (), names),
        pools=pools,
        overrides=overrides or Overrides(),
        protection=Protection(pools=protected),
        there=there if there is not None else {Kind.POOL: len(pools), Kind.DEPLOYMENT: 20},
        strays=strays,
    )


def waiting(name: str = "late-owl", **changed: Any) -> WaitingRun:
    """A run that a schedule made and that was due an hour ago."""
    usual = WaitingRun(
        id=f"id-{name}",
        name=name,
        deployment_id="id-flow/nightly",
        due_at=NOW - timedelta(hours=1),
        state_name="Late",
        auto_scheduled=True,
    )
    return replace(usual, **changed)

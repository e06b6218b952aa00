"""Scopes, runs that are left behind and verdicts about them, for tests: each builder makes an ordinary one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flows.policy.cleanup.caps import Caps, CleanupLimit
from flows.policy.cleanup.decision import Decision, decide_cleanup
from flows.policy.cleanup.finished_runs import FinishedRun
from flows.policy.cleanup.kinds import CleanupKind, Found, Scope, verdict
from flows.policy.cleanup.late_runs import LateRun
from flows.policy.cleanup.retention import Retention
from flows.policy.plan import ActionLimit, Kind, Target, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.selection import select_pools
from tests.builders import NOW, ago, pool

OWN = "management"
OWN_RUN = "id-own"
POOLS = ("etl", "gpu", OWN)


def scope(
    asked: Sequence[str] = ("*",), exclude: Sequence[str] = (), *, there: Sequence[str] = POOLS, **retention: Any
) -> Scope:
    """These pools of `etl`, `gpu` and the keeper's own, whose present run is protected as well."""
    selection = select_pools(asked, exclude, there)
    return Scope(
        selection,
        tuple(pool(name) for name in selection.names),
        Retention(**retention),
        Protection(pools=frozenset({OWN}), run_ids=frozenset({OWN_RUN})),
        NOW,
    )


def finished(name: str = "old-owl", **changed: Any) -> FinishedRun:
    """A run that completed 100 days ago, of a deployment that is gone."""
    usual = FinishedRun(
        id=f"id-{name}",
        name=name,
        pool="etl",
        deployment_id="id-gone",
        state_type="COMPLETED",
        state_name="Completed",
        ended_at=ago(days=100),
    )
    return replace(usual, **changed)


def late_run(name: str = "late-owl", **changed: Any) -> LateRun:
    """A run of `flow/nightly` that a schedule made and that was due two days ago."""
    usual = LateRun(
        id=f"id-{name}",
        name=name,
        pool="etl",
        deployment_id="id-flow/nightly",
        due_at=ago(days=2),
        state_name="Late",
        state_id="one",
        auto_scheduled=True,
    )
    return replace(usual, **changed)


def target(name: str = "owl", kind: Kind = Kind.RUN) -> Target:
    return Target(kind, name, f"id-{name}", "etl")


def of_rule(
    rule: CleanupKind,
    name: str = "owl",
    verb: Verb = Verb.DELETE,
    *,
    kind: Kind = Kind.RUN,
    reason: str = "Completed 100 d ago",
) -> Verdict:
    """What a kind's rule says about a target of that name."""
    return verdict(rule, verb, target(name, kind), reason)


def numbered(
    rule: CleanupKind, count: int, verb: Verb = Verb.DELETE, *, kind: Kind = Kind.RUN, start: int = 0
) -> tuple[Verdict, ...]:
    """So many verdicts of a rule, each about another target."""
    return tuple(of_rule(rule, f"{kind.value}-{number}", verb, kind=kind) for number in range(start, start + count))


def decide(
    found: Mapping[CleanupKind, Found | Iterable[Verdict]],
    *,
    caps: Caps | None = None,
    limit: ActionLimit | None = None,
    there: Mapping[Kind, int] | None = None,
) -> Decision:
    """The decision about what these rules found; a list of verdicts is what was found with nothing counted."""
    known = {kind: each if isinstance(each, Found) else Found(tuple(each)) for kind, each in found.items()}
    return decide_cleanup(known, caps or Caps(), limit or CleanupLimit(), there or {}, NOW)

"""Facts for tests: each builder makes an ordinary, healthy thing, and a test says only what is otherwise."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.policy.demand import PoolDemand
from flows.policy.durations import estimate
from flows.policy.facts import (
    DeploymentFacts,
    PoolFacts,
    QueueFacts,
    RunFacts,
    TemplateFacts,
    WorkerFacts,
)
from flows.policy.failure_threshold import FailureThreshold
from flows.policy.fleet import FleetFacts, FleetRecord, InventoryFacts, PoolState
from flows.policy.foreseen import Question
from flows.policy.pool_health import find
from flows.policy.selection import select_pools
from flows.policy.upcoming import ScheduleFacts, Source, UpcomingFacts, UpcomingRun
from flows.report.inventory import inventory_report
from flows.report.page import Report

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def pool(name: str = "etl", **changed: Any) -> PoolFacts:
    usual = PoolFacts(
        id=f"id-{name}",
        name=name,
        type="process",
        status="READY",
        is_paused=False,
        concurrency_limit=10,
        template=TemplateFacts(digest="0" * 64),
        created_at=ago(days=30),
    )
    return replace(usual, **changed)


def queue(name: str = "default", pool: str = "etl", **changed: Any) -> QueueFacts:
    usual = QueueFacts(
        id=f"id-{pool}-{name}", name=name, pool=pool, is_paused=False, priority=1, concurrency_limit=None
    )
    return replace(usual, **changed)


def worker(name: str = "worker-1", pool: str = "etl", **changed: Any) -> WorkerFacts:
    return replace(WorkerFacts(name=name, pool=pool, last_heartbeat_at=ago(seconds=10)), **changed)


def run(name: str = "brave-owl", **changed: Any) -> RunFacts:
    usual = RunFacts(
        id=f"id-{name}",
        name=name,
        pool="etl",
        queue_id="id-etl-default",
        deployment_id=None,
        state_type="RUNNING",
        state_name="Running",
        since=ago(minutes=1),
    )
    return replace(usual, **changed)


def pending(name: str = "brave-owl", **changed: Any) -> RunFacts:
    return run(name, **{"state_type": "PENDING", "state_name": "Pending", **changed})


def late(name: str = "brave-owl", **changed: Any) -> RunFacts:
    return run(name, **{"state_type": "SCHEDULED", "state_name": "Late", "expected_start_at": ago(hours=1), **changed})


def deployment(name: str = "flow/nightly", **changed: Any) -> DeploymentFacts:
    usual = DeploymentFacts(id=f"id-{name}", name=name, pool=None, paused=False, active_schedules=1)
    return replace(usual, **changed)


def state(name: str = "etl", *, of: dict[str, Any] | None = None, **changed: Any) -> PoolState:
    """A pool with one queue, one online worker and one deployment; `of` changes the pool itself."""
    usual = PoolState(
        pool=pool(name, **(of or {})), queues=(queue(pool=name),), workers=(worker(pool=name),), deployments=1
    )
    return replace(usual, **changed)


def fleet(*states: PoolState, also: Iterable[str] = (), **changed: Any) -> FleetFacts:
    """These pools; `also` names pools of the server that were not asked for."""
    names = {each.pool.name for each in states} | set(also)
    return replace(FleetFacts(pools=states, names_on_server=frozenset(names)), **changed)


def facts(
    *states: PoolState,
    pools: tuple[str, ...] = ("*",),
    exclude: tuple[str, ...] = (),
    also: Iterable[str] = (),
    **changed: Any,
) -> InventoryFacts:
    """What an inventory of `pools` less `exclude` observes on a server with these pools."""
    there = fleet(*states, also=also)
    selection = select_pools(pools, exclude, there.names_on_server)
    asked_for = tuple(each for each in states if each.pool.name in selection.names)
    usual = InventoryFacts(selection, replace(there, pools=asked_for), now=NOW, window_hours=24)
    return replace(usual, **changed)


def record(*kept: Any, kept_at: datetime = NOW - timedelta(hours=1)) -> FleetRecord:
    """What an earlier inventory kept of these pools."""
    return FleetRecord({each.pool: each for each in kept}, kept_at)


def report(observed: InventoryFacts, threshold: FailureThreshold | None = None) -> Report:
    """The inventory's report of these facts, with the findings that the rules make of them."""
    found = {each.pool.name: find(each, observed.now, threshold or FailureThreshold()) for each in observed.fleet.pools}
    return inventory_report(observed, found, key="pool-inventory")


def coming(**length: float) -> datetime:
    return NOW + timedelta(**length)


def zombie(name: str = "lost", **changed: Any) -> RunFacts:
    """A run that holds a slot without sign of life."""
    return pending(name, **{"since": ago(hours=2), **changed})


def upcoming(name: str = "wise-fox", **changed: Any) -> UpcomingRun:
    """A run of `flow/nightly` that Prefect has made already, due in ten minutes."""
    usual = UpcomingRun(
        due_at=coming(minutes=10),
        pool="etl",
        queue_id="id-etl-default",
        deployment_id="id-flow/nightly",
        source=Source.SCHEDULED,
        id=f"id-{name}",
        name=name,
    )
    return replace(usual, **changed)


def schedule(*dates: datetime, of: str = "flow/nightly", name: str = "daily", **changed: Any) -> ScheduleFacts:
    return replace(ScheduleFacts(f"id-{name}", f"id-{of}", dates), **changed)


def demand(
    *runs: UpcomingRun,
    there: PoolState | None = None,
    took: Mapping[str, Iterable[float]] | None = None,
    deployments: Iterable[DeploymentFacts] = (),
) -> PoolDemand:
    """What these runs ask of a healthy pool. `took` has the seconds that past runs took by deployment name; without
    it, those of `flow/nightly` took a minute."""
    past = {"flow/nightly": [60.0]} if took is None else took
    durations = {
        f"id-{name}": known
        for name, seconds in past.items()
        if (known := estimate([timedelta(seconds=each) for each in seconds]))
    }
    known = {each.id: each for each in (deployment(pool="etl", queue_id="id-etl-default"), *deployments)}
    return PoolDemand(there or state(), runs, known, durations, NOW)


def upcoming_facts(*states: PoolState, deployments: Iterable[DeploymentFacts] = (), **changed: Any) -> UpcomingFacts:
    """What a preview of these pools, which are all there are, observes: nothing is due on them.

    Runs of `flow/nightly`, which belongs to the pool `etl`, took a minute.
    """
    known = [deployment(pool="etl", queue_id="id-etl-default"), *deployments]
    usual = UpcomingFacts(
        selection=select_pools(["*"], [], [each.pool.name for each in states]),
        now=NOW,
        pools=states,
        deployments={each.id: each for each in known},
        past={"id-flow/nightly": (timedelta(minutes=1),)},
    )
    return replace(usual, **changed)


def question(**changed: Any) -> Question:
    return replace(Question(hours=24, timezone="UTC", acceptable_wait_minutes=5), **changed)

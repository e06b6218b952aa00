"""Facts for tests: each builder makes an ordinary, healthy thing, and a test says only what is otherwise."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

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
from flows.policy.pool_health import find
from flows.policy.selection import select_pools
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

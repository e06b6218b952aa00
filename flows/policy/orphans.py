"""Scheduled work that no pool will ever run."""

from datetime import datetime

from flows.policy.facts import POLLED_RECENTLY, DeploymentFacts
from flows.policy.fleet import FleetFacts


def orphaned_deployments(fleet: FleetFacts, now: datetime) -> tuple[DeploymentFacts, ...]:
    """Deployments that make runs which nobody will start: no pool, and no process that serves them."""
    return tuple(
        deployment
        for deployment in fleet.without_pool
        if (deployment.scheduled_runs or (deployment.active_schedules and not deployment.paused))
        and not (deployment.last_polled_at and now - deployment.last_polled_at < POLLED_RECENTLY)
    )

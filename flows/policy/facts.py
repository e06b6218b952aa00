"""What was observed, as plain values: what every rule decides about.

Instants are aware UTC. Nothing here holds a secret: values of templates and job variables stop at the
border, where they are read.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# Prefect calls a worker offline after this many missed heartbeats; a worker that does not say how often it beats
# beats every 30 seconds.
MISSED_HEARTBEATS = 3
DEFAULT_HEARTBEAT = timedelta(seconds=30)

# Whoever starts runs, a worker, an agent or a serving process, asks for them every few seconds.
POLLED_RECENTLY = timedelta(seconds=60)

# Pools of these types have no workers of their own: Prefect Cloud or an agent starts their runs.
AGENT_TYPE = "prefect-agent"
MANAGED_TYPE = "prefect:managed"
PUSH_SUFFIX = ":push"


def needs_workers(pool_type: str) -> bool:
    """Whether workers start the runs of work pools of this type."""
    return not (pool_type.endswith(PUSH_SUFFIX) or pool_type in (MANAGED_TYPE, AGENT_TYPE))


@dataclass(frozen=True, slots=True)
class TemplateVariable:
    """One variable of a base job template. `shown` is its default where that can be shown, else how it is set."""

    name: str
    type: str
    shown: str


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """A base job template without its values: a digest to tell one from another, and paths to secrets written out."""

    digest: str
    variables: tuple[TemplateVariable, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A work pool. `status` is None for pools of type `prefect-agent`; `concurrency_limit` None means no limit.

    `description` is its owner's, with the keeper's note in front while that stands.
    """

    id: str
    name: str
    type: str
    status: str | None
    is_paused: bool
    concurrency_limit: int | None
    template: TemplateFacts
    created_at: datetime | None = None
    description: str | None = None
    updated_at: datetime | None = None

    @property
    def has_workers(self) -> bool:
        """Whether workers start the runs of this pool (Prefect Cloud does for push and managed pools)."""
        return needs_workers(self.type)


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """A work queue. Priority 1 goes first; `concurrency_limit` None means no limit of its own."""

    id: str
    name: str
    pool: str
    is_paused: bool
    priority: int
    concurrency_limit: int | None
    status: str | None = None
    last_polled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker's row on the server, which stays after the worker has gone."""

    name: str
    pool: str
    last_heartbeat_at: datetime | None
    heartbeat: timedelta = DEFAULT_HEARTBEAT
    id: str = ""

    def is_online(self, now: datetime) -> bool:
        """Judged from the heartbeat: the status the server has stored lags behind by more than a minute."""
        return self.last_heartbeat_at is not None and now - self.last_heartbeat_at < self.heartbeat * MISSED_HEARTBEATS


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A flow run. `since` is when it entered its present state; `pool` is None once its pool is deleted.

    Its queue is known by id: the name that Prefect keeps with a run is empty where it was deployed without one.
    """

    id: str
    name: str
    pool: str | None
    queue_id: str | None
    deployment_id: str | None
    state_type: str
    state_name: str
    since: datetime
    expected_start_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """A deployment as far as its work is concerned. `name` is `flow/deployment`; `limit` its own concurrency limit.

    `cancels` tells that a run which finds the limit reached is cancelled instead of waiting.
    """

    id: str
    name: str
    pool: str | None
    paused: bool
    active_schedules: int
    limit: int | None = None
    active: int = 0
    last_polled_at: datetime | None = None
    scheduled_runs: int = 0
    queue_id: str | None = None
    cancels: bool = False

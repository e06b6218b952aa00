"""The fleet as one inventory saw it, and what is kept of it until the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from flows.policy.facts import (
    AGENT_TYPE,
    POLLED_RECENTLY,
    DeploymentFacts,
    PoolFacts,
    QueueFacts,
    RunFacts,
    WorkerFacts,
)
from flows.policy.selection import Selection


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool and all that is known of it. `finished` and `failed` count the runs that ended in the window."""

    pool: PoolFacts
    queues: tuple[QueueFacts, ...] = ()
    workers: tuple[WorkerFacts, ...] = ()
    deployments: int = 0
    active: tuple[RunFacts, ...] = ()
    cancelling: tuple[RunFacts, ...] = ()
    late: int = 0
    finished: int = 0
    failed: int = 0

    def workers_online(self, now: datetime) -> tuple[WorkerFacts, ...]:
        return tuple(worker for worker in self.workers if worker.is_online(now))

    def is_attended(self, now: datetime) -> bool:
        """Whether anybody is there to start runs. Agents have no rows: they show by asking the queues for work."""
        if self.pool.type == AGENT_TYPE:
            return any(queue.last_polled_at and now - queue.last_polled_at < POLLED_RECENTLY for queue in self.queues)
        return not self.pool.has_workers or bool(self.workers_online(now))


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """The pools that were asked for, and what belongs to no pool at all.

    `names_on_server` are those of every pool there is. `without_pool` are the deployments that have no pool;
    `unlisted_without_pool` counts those of them that were too many to read one by one; `gone` names the pools that
    were deleted while they were read.
    """

    pools: tuple[PoolState, ...]
    names_on_server: frozenset[str]
    without_pool: tuple[DeploymentFacts, ...] = ()
    unlisted_without_pool: int = 0
    gone: tuple[str, ...] = ()


class PoolRecord(BaseModel):
    """What is kept of a pool until the next inventory. `template` is the start of a digest, not the template."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: str
    id: str
    paused: bool
    concurrency_limit: int | None
    template: str
    workers_online: int


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """What the last inventory kept, by pool name, and when."""

    pools: Mapping[str, PoolRecord]
    kept_at: datetime


@dataclass(frozen=True, slots=True)
class InventoryFacts:
    """Everything an inventory is about. `record` None: there is no earlier inventory to compare with.

    `late_runs` (those late for longest) and their `deployments` by id are read only where one pool is inspected.
    """

    selection: Selection
    fleet: FleetFacts
    now: datetime
    window_hours: int
    record: FleetRecord | None = None
    late_runs: tuple[RunFacts, ...] = ()
    deployments: Mapping[str, DeploymentFacts] = field(default_factory=dict)

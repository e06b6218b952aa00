"""What pool-reconcile decides about: the spec, the work pools there are, and what is remembered of them.

Templates are here as they are, for they have to be compared; none of them is ever shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from flows.policy.pool_spec import Spec
from flows.policy.protection import Protection

Template = Mapping[str, Any]


class TemplateProblem(ValueError):
    """A base job template that cannot be meant, in words without its values."""


# As Prefect makes it with each work pool.
DEFAULT_QUEUE, DEFAULT_QUEUE_DESCRIPTION = "default", "The work pool's default queue."


@dataclass(frozen=True, slots=True)
class QueueThere:
    """A work queue as it is. `id` is empty for one that will only be there once its work pool is created."""

    id: str
    name: str
    priority: int
    concurrency_limit: int | None = None
    description: str | None = None
    is_paused: bool = False


NEW_QUEUE = QueueThere("", DEFAULT_QUEUE, 1, description=DEFAULT_QUEUE_DESCRIPTION)


@dataclass(frozen=True, slots=True)
class PoolThere:
    """A work pool as it is, with its queues where the spec names it.

    While it is half-open (pool-auto-pause has resumed it and lets a few runs try), its limit is not its own;
    `former_limit` is.
    """

    id: str
    name: str
    type: str
    is_paused: bool
    concurrency_limit: int | None
    description: str | None
    template: Template = field(repr=False)
    queues: tuple[QueueThere, ...] = ()
    is_half_open: bool = False
    former_limit: int | None = None

    @property
    def own_limit(self) -> int | None:
        return self.former_limit if self.is_half_open else self.concurrency_limit


class Created(BaseModel):
    """That pool-reconcile has created a work pool, from which spec, and whether that protected it when last read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: str
    id: str
    spec: str
    created_at: AwareDatetime
    protected: bool = False


@dataclass(frozen=True, slots=True)
class ReconcileFacts:
    """`pools` are all there are, by name. `defaults` has the present default templates of each worker type, first the
    one that a new work pool gets. `created` is by the work pools' ids. `uses` says what depends on a work pool that
    may be pruned, by its id; `drifted` what differed when last looked, by name."""

    spec: Spec
    path: str
    pools: Mapping[str, PoolThere]
    defaults: Mapping[str, tuple[Template, ...]] = field(repr=False)
    protection: Protection
    created: Mapping[str, Created] = field(default_factory=dict)
    uses: Mapping[str, str] = field(default_factory=dict)
    prune: bool = False

    @property
    def types(self) -> frozenset[str]:
        """The worker types that are known here."""
        return frozenset(self.defaults) | {pool.type for pool in self.pools.values()}


def prunable(facts: ReconcileFacts) -> tuple[PoolThere, ...]:
    """The work pools that this spec once created, that are not in it any more, and that nothing protects."""
    written = {pool.name for pool in facts.spec.pools}
    return tuple(
        pool
        for name, pool in sorted(facts.pools.items())
        if name not in written
        and name not in facts.protection.pools
        and (known := facts.created.get(pool.id)) is not None
        and known.spec == facts.path
        and not known.protected
    )

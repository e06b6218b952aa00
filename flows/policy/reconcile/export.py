"""What is there, as a spec: read back, it differs in nothing from what it was made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.policy.pool_spec import RESERVED, TemplateSpec
from flows.policy.protection import Protection
from flows.policy.reconcile.facts import DEFAULT_QUEUE, DEFAULT_QUEUE_DESCRIPTION, PoolThere, QueueThere, Template
from flows.policy.reconcile.left_out import without_secrets
from flows.policy.reconcile.notes import owners
from flows.policy.reconcile.templates import differing, overrides_of, wanted_templates


@dataclass(frozen=True, slots=True)
class ExportedPool:
    """A work pool as it is written in a spec, how its template is written, and how many secrets are left out of it."""

    name: str
    type: str
    template: str
    secrets: int
    written: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Export:
    """The work pools by name, and those that no spec may hold."""

    pools: tuple[ExportedPool, ...]
    omitted: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        return {"version": 1, "pools": [dict(pool.written) for pool in self.pools]}

    @property
    def secrets(self) -> int:
        return sum(pool.secrets for pool in self.pools)


def export_pools(
    pools: Mapping[str, PoolThere], defaults: Mapping[str, Sequence[Template]], protection: Protection
) -> Export:
    """All but the keeper's own work pool and Prefect's own ones. Whether they are paused is left to people."""
    omitted = tuple(name for name in sorted(pools) if name in protection.pools or name.lower().startswith(RESERVED))
    kept = [pool for name, pool in sorted(pools.items()) if name not in omitted]
    return Export(tuple(_exported(pool, defaults.get(pool.type, ())) for pool in kept), omitted)


def _exported(pool: PoolThere, defaults: Sequence[Template]) -> ExportedPool:
    written: dict[str, Any] = {"name": pool.name, "type": pool.type}
    if description := owners(pool.description):
        written["description"] = description
    written["concurrency_limit"] = pool.own_limit
    written["queues"] = [_queue(queue) for queue in pool.queues]
    template, how, secrets = _template(pool, defaults)
    written["base_job_template"] = template
    return ExportedPool(pool.name, pool.type, how, secrets, written)


def _queue(queue: QueueThere) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": queue.name,
        "priority": queue.priority,
        "concurrency_limit": queue.concurrency_limit,
    }
    description = owners(queue.description)
    # What Prefect itself writes there need not be said.
    if description and (queue.name, description) != (DEFAULT_QUEUE, DEFAULT_QUEUE_DESCRIPTION):
        written["description"] = description
    return written


def _template(pool: PoolThere, defaults: Sequence[Template]) -> tuple[Any, str, int]:
    """As briefly as it can be said, how that is, and how many secrets are left out."""
    plain = TemplateSpec(default=True)
    usual = wanted_templates(plain, pool.type, defaults, pool.template) if defaults else ()
    if any(not list(differing(each, pool.template)) for each in usual):
        return "default", "default", 0
    there, secrets = without_secrets(pool.template)
    for default in defaults:
        overrides = overrides_of(there, default)
        if overrides is not None:
            return {"default": True, "overrides": overrides}, "default with overrides", secrets
    return {"inline": there}, "written out", secrets

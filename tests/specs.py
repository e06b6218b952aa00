"""Specs and the work pools beside them, for tests: ordinary ones, and any."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from flows.policy.plan import Verb
from flows.policy.pool_spec import Spec
from flows.policy.protection import Protection
from flows.policy.reconcile.decision import Decision, decide_reconcile
from flows.policy.reconcile.facts import NEW_QUEUE, Created, PoolThere, QueueThere, ReconcileFacts, Template
from flows.policy.reconcile.queues import first_free, pushed
from tests.builders import NOW

PATH = "deployments/pools.yaml"
MANAGEMENT = "management"
DEFAULT: Template = {
    "variables": {
        "type": "object",
        "properties": {"env": {"type": "object"}, "image": {"type": "string", "default": None}},
    },
    "job_configuration": {"env": "{{ env }}", "image": "{{ image }}"},
}
OTHER: Template = {
    "variables": {"type": "object", "properties": {"env": {"type": "object", "default": {"A": "b"}}}},
    "job_configuration": {"env": "{{ env }}"},
}


def spec(*pools: Mapping[str, Any], **more: Any) -> Spec:
    """A spec as it is read from a file; pools are of type process if they do not say."""
    return Spec.model_validate({"version": 1, "pools": [{"type": "process", **pool} for pool in pools], **more})


def there(name: str = "etl", **changed: Any) -> PoolThere:
    usual = PoolThere(f"id-{name}", name, "process", False, None, None, DEFAULT, queues=(queue(pool=name),))
    return replace(usual, **changed)


def queue(name: str = "default", priority: int = 1, *, pool: str = "etl", **changed: Any) -> QueueThere:
    return replace(QueueThere(f"id-{pool}-{name}", name, priority), **changed)


def created(name: str = "etl", **changed: Any) -> Created:
    usual = {"pool": name, "id": f"id-{name}", "spec": PATH, "created_at": NOW, "protected": False}
    return Created.model_validate(usual | changed)


def facts(wanted: Spec, *pools: PoolThere, made: tuple[Created, ...] = (), **changed: Any) -> ReconcileFacts:
    usual = ReconcileFacts(
        wanted,
        PATH,
        {pool.name: pool for pool in pools},
        {"process": (DEFAULT,)},
        Protection(pools=frozenset({MANAGEMENT})),
        created={each.id: each for each in made},
    )
    return replace(usual, **changed)


def carried_out(observed: ReconcileFacts, decision: Decision) -> ReconcileFacts:
    """What would be there if every step were done, as Prefect does it."""
    pools = dict(observed.pools)
    for target, step in decision.steps.items():
        name = str(target.pool)
        if step.verb is Verb.DELETE:
            del pools[name]
        elif target.name == name and step.verb is not Verb.LEAVE:
            pools[name] = _pool(pools.get(name), step.body)
        elif step.verb is not Verb.LEAVE:
            pools[name] = _with_queue(pools[name], target.name.removeprefix(f"{name}/"), step.body)
    return replace(observed, pools=pools)


def decided_again(observed: ReconcileFacts) -> Decision:
    """What is decided once everything was done."""
    return decide_reconcile(carried_out(observed, decide_reconcile(observed)))


def _pool(before: PoolThere | None, body: Mapping[str, Any]) -> PoolThere:
    fields = {("template" if key == "base_job_template" else key): value for key, value in body.items()}
    if before is not None:
        return replace(before, **fields)
    usual = {"is_paused": False, "concurrency_limit": None, "description": None}
    return PoolThere(id=f"id-{body['name']}", queues=(replace(NEW_QUEUE, id="new"),), **{**usual, **fields})


def _with_queue(pool: PoolThere, name: str, body: Mapping[str, Any]) -> PoolThere:
    queues = {each.name: each for each in pool.queues}
    priorities = {each.name: each.priority for each in pool.queues}
    if name not in queues:
        queues[name] = QueueThere(f"id-{name}", name, 0)
        priorities = pushed(priorities, name, body.get("priority") or first_free(priorities))
    elif "priority" in body:
        priorities = pushed(priorities, name, body["priority"])
    queues[name] = replace(queues[name], **{key: value for key, value in body.items() if key != "priority"})
    return replace(pool, queues=tuple(replace(each, priority=priorities[each.name]) for each in queues.values()))


# --- Any ----------------------------------------------------------------------------------------------------------

pool_names = st.sampled_from(["a", "b", "c", "d", MANAGEMENT])
queue_names = st.sampled_from(["default", "x", "y", "z"])
limits = st.none() | st.integers(0, 3)
descriptions = st.sampled_from([None, "", "mine", "ours\n", "| x |"])
notes = st.sampled_from(
    [
        "",
        "[Poolkeeper: paused by pool-auto-pause. Lease ab.1]",
        "[Poolkeeper: trying again. Former limit: 2. Lease ab.2]",
        "[Poolkeeper: idle, marked 2026-01-01 00:00:00 UTC. Deleted after 2026-01-02 00:00:00 UTC unless it is used.]",
        "[Poolkeeper: being created from deployments/pools.yaml]",
    ]
)
templates = st.sampled_from(
    ["default", {"inline": OTHER}, {"default": True, "overrides": {"image": "x"}}, {"inline": DEFAULT}]
)


def queue_specs() -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = {"priority": st.integers(1, 6), "concurrency_limit": limits, "description": descriptions}
    one = st.fixed_dictionaries({"name": queue_names}, optional=fields)
    return st.lists(
        one, max_size=4, unique_by=(lambda each: each["name"], lambda each: each.get("priority", each["name"]))
    )


def pool_specs() -> st.SearchStrategy[dict[str, Any]]:
    fields = {
        "description": descriptions,
        "concurrency_limit": limits,
        "is_paused": st.booleans(),
        "protected": st.booleans(),
        "queues": queue_specs(),
        "base_job_template": templates,
    }
    return st.fixed_dictionaries({"name": pool_names}, optional=fields)


def specs(min_size: int = 0) -> st.SearchStrategy[Spec]:
    pools = st.lists(pool_specs(), min_size=min_size, max_size=4, unique_by=lambda each: each["name"])
    return st.builds(lambda pools, limit: spec(*pools, default_concurrency_limit=limit), pools, limits)


@st.composite
def queues_there(draw: st.DrawFn, pool: str) -> tuple[QueueThere, ...]:
    """With the default queue, each with a priority of its own."""
    named = ["default", *draw(st.lists(queue_names.filter(lambda name: name != "default"), unique=True, max_size=3))]
    priorities = draw(st.lists(st.integers(1, 6), min_size=len(named), max_size=len(named), unique=True))
    return tuple(
        queue(name, priority, pool=pool, concurrency_limit=draw(limits), description=draw(descriptions))
        for name, priority in zip(named, priorities, strict=True)
    )


@st.composite
def pools_there(draw: st.DrawFn) -> PoolThere:
    name = draw(pool_names)
    note, own = draw(notes), draw(descriptions)
    description = "\n\n".join(part for part in (note, own) if part) or own
    half_open = "Former limit" in note
    return there(
        name,
        is_paused=draw(st.booleans()),
        concurrency_limit=1 if half_open else draw(limits),
        description=description,
        template=draw(st.sampled_from([DEFAULT, OTHER, {}])),
        queues=draw(queues_there(name)),
        is_half_open=half_open,
        former_limit=2 if half_open else None,
    )


@st.composite
def any_facts(draw: st.DrawFn, min_size: int = 0) -> ReconcileFacts:
    pools = draw(st.lists(pools_there(), max_size=5, unique_by=lambda each: each.name))
    made = [
        created(pool.name, spec=draw(st.sampled_from([PATH, "other.yaml"])), protected=draw(st.booleans()))
        for pool in pools
        if draw(st.booleans())
    ]
    uses = {pool.id: "1 deployment" for pool in pools if draw(st.booleans())}
    return facts(draw(specs(min_size)), *pools, made=tuple(made), uses=uses, prune=draw(st.booleans()))

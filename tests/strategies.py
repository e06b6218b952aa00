"""Random fleets, names and templates."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from flows.policy.facts import (
    AGENT_TYPE,
    MANAGED_TYPE,
    DeploymentFacts,
    PoolFacts,
    QueueFacts,
    RunFacts,
    TemplateFacts,
    TemplateVariable,
    WorkerFacts,
)
from flows.policy.fleet import PoolState
from tests.builders import NOW, state, worker

CANARY = "c4n4ry-that-nobody-may-see"

HOSTILE = (
    "| a | b |\n|---|---|",
    "\\|",
    "`|`",
    "![x](https://example.com/x.png)",
    "<img src=x onerror=alert(1)>",
    "**bold** _it_ ~~no~~",
    "a\r\nb",
    "\u202ereversed",
    "# heading",
    "- [ ] item",
    "[[x]](javascript:alert(1))",
    "&lt;&#124;",
    "$x$ \\(y\\)",
    "   ",
)

# Whatever a person can type; half of a surrogate pair cannot be stored.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(HOSTILE)
# Names that collide and match often.
short_names = st.text("ab-*?[]", min_size=1, max_size=4)
# A pool that is called like the question for all pools is a case of its own.
ordinary_names = names.filter(lambda name: name != "*")
ordinary_short_names = short_names.filter(lambda name: name != "*")
pool_types = st.sampled_from(["process", "docker", "kubernetes", "ecs:push", MANAGED_TYPE, AGENT_TYPE])
instants = st.integers(-60, 60 * 24 * 40).map(lambda minutes: NOW - timedelta(minutes=minutes))
limits = st.none() | st.integers(0, 5)
counts = st.integers(0, 30)
ids = st.integers(0, 10**6).map(str)
variables = st.builds(TemplateVariable, name=names, type=names, shown=names)


def queues(pool: str) -> st.SearchStrategy[QueueFacts]:
    return st.builds(
        QueueFacts,
        id=ids,
        name=names,
        pool=st.just(pool),
        is_paused=st.booleans(),
        priority=st.integers(1, 9),
        concurrency_limit=limits,
        status=st.sampled_from([None, "READY", "NOT_READY", "PAUSED"]),
        last_polled_at=st.none() | instants,
    )


def workers(pool: str) -> st.SearchStrategy[WorkerFacts]:
    beats = st.sampled_from([timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)])
    return st.builds(
        WorkerFacts, name=names, pool=st.just(pool), last_heartbeat_at=st.none() | instants, heartbeat=beats
    )


@st.composite
def runs(draw: st.DrawFn, pool: str, queue_ids: list[str], state_types: list[str]) -> RunFacts:
    state_type = draw(st.sampled_from(state_types))
    return RunFacts(
        id=draw(ids),
        name=draw(names),
        pool=pool,
        queue_id=draw(st.none() | st.sampled_from(queue_ids)) if queue_ids else None,
        deployment_id=draw(st.none() | ids),
        state_type=state_type,
        state_name=state_type.title(),
        since=draw(instants),
        expected_start_at=draw(st.none() | instants),
    )


@st.composite
def states(draw: st.DrawFn) -> PoolState:
    """A pool in any condition."""
    pool = PoolFacts(
        id=draw(ids),
        name=draw(ordinary_names),
        type=draw(pool_types),
        status=draw(st.sampled_from([None, "READY", "NOT_READY", "PAUSED"])),
        is_paused=draw(st.booleans()),
        concurrency_limit=draw(limits),
        template=TemplateFacts(
            digest=draw(st.sampled_from(["0" * 64, "1" * 64])),
            variables=draw(st.lists(variables, max_size=2).map(tuple)),
            secrets=draw(st.lists(names, max_size=4).map(tuple)),
        ),
        created_at=draw(st.none() | instants),
    )
    queues_there = draw(st.lists(queues(pool.name), max_size=3).map(tuple))
    queue_ids = [queue.id for queue in queues_there]
    finished = draw(counts)
    return PoolState(
        pool=pool,
        queues=queues_there,
        workers=draw(st.lists(workers(pool.name), max_size=3).map(tuple)),
        deployments=draw(st.integers(0, 3)),
        active=draw(st.lists(runs(pool.name, queue_ids, ["PENDING", "RUNNING"]), max_size=4).map(tuple)),
        cancelling=draw(st.lists(runs(pool.name, queue_ids, ["CANCELLING"]), max_size=2).map(tuple)),
        late=draw(st.integers(0, 3)),
        finished=finished,
        failed=draw(st.integers(0, finished)),
    )


def fleets(max_size: int = 3) -> st.SearchStrategy[list[PoolState]]:
    """Pools in any condition, with different names as a server has them."""
    return st.lists(states(), max_size=max_size, unique_by=lambda state: state.pool.name)


@st.composite
def kept_states(draw: st.DrawFn) -> PoolState:
    """A pool as far as a record tells one from another."""
    name = draw(ordinary_short_names)
    changed = {
        "id": draw(st.sampled_from(["1", "2"])),
        "is_paused": draw(st.booleans()),
        "concurrency_limit": draw(limits),
        "template": TemplateFacts(digest=draw(st.sampled_from("01")) * 64),
        "created_at": draw(st.none() | instants),
    }
    return state(name, of=changed, workers=(worker(pool=name),) * draw(st.integers(0, 2)))


def kept_fleets(max_size: int = 4) -> st.SearchStrategy[list[PoolState]]:
    """Pools whose names are short: two fleets have some of them in common, and patterns match some."""
    return st.lists(kept_states(), max_size=max_size, unique_by=lambda state: state.pool.name)


def late_runs(state: PoolState) -> st.SearchStrategy[tuple[RunFacts, ...]]:
    queue_ids = [queue.id for queue in state.queues]
    return st.lists(runs(state.pool.name, queue_ids, ["SCHEDULED"]), max_size=3).map(tuple)


deployments_without_pool = st.builds(
    DeploymentFacts,
    id=ids,
    name=names,
    pool=st.none(),
    paused=st.booleans(),
    active_schedules=st.integers(0, 3),
    last_polled_at=st.none() | instants,
    scheduled_runs=st.integers(0, 3),
)

# Values of a base job template that hold the canary somewhere, or nothing of interest.
_scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1)
_canaries = st.sampled_from(
    [CANARY, f" {CANARY} ", f"postgres://user:{CANARY}@db/x", f"https://{CANARY}:x@host", f"{{{{ {CANARY} }}}}"]
)
_keys = st.sampled_from(
    ["env", "DB_PASSWORD", "API_TOKEN", "command", "image", "nested", "secret", "title", "value", "labels", "url"]
)


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON with these leaves, with environment variables as dicts and as Kubernetes writes them."""
    variable = st.fixed_dictionaries({"name": _keys, "value": leaves})
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner | variable, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
        max_leaves=6,
    )


@st.composite
def templates_with_canary(draw: st.DrawFn) -> dict[str, Any]:
    """A base job template that holds the canary wherever text can stand, except as a choice it declares."""
    leaves = _scalars | _canaries | st.sampled_from(["plain", ""])
    schema = st.fixed_dictionaries(
        {},
        optional={
            "default": values(leaves),
            "type": st.sampled_from(["string", "object", "array", "integer"]),
            "title": _canaries,
            "description": _canaries,
            "anyOf": st.lists(st.fixed_dictionaries({"type": st.sampled_from(["string", "null"])}), max_size=2),
            "enum": st.lists(st.sampled_from(["Always", "Never"]), max_size=2),
            "format": st.sampled_from(["password", "date-time"]),
            "writeOnly": st.booleans(),
        },
    )
    return {
        "variables": {"type": "object", "properties": draw(st.dictionaries(_keys, schema, max_size=4))},
        "job_configuration": {
            "env": draw(st.dictionaries(_keys, leaves, max_size=3)),
            "command": draw(_canaries),
            "job_manifest": draw(values(leaves)),
        },
    }

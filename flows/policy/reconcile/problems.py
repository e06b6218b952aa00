"""What in a spec cannot be meant: found before anything is changed, and told without any value of a template."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from flows.policy.pool_spec import Part, PoolSpec, QueueSpec, Spec, TemplateSpec
from flows.policy.reconcile.facts import ReconcileFacts, TemplateProblem
from flows.policy.reconcile.templates import wanted_templates
from flows.policy.words import one_line

Place = tuple[str | int, ...]
PARTS: dict[str, type[Part]] = {"queues": QueueSpec, "base_job_template": TemplateSpec, "pools": PoolSpec}


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """What cannot be meant, and where in the spec it stands: `("pools", 1, "type")`."""

    place: Place
    words: str


def read_problems(error: ValidationError) -> tuple[SpecProblem, ...]:
    """What pydantic found, as places and words; never what was written there."""
    return tuple(
        SpecProblem(each["loc"], _unknown(each["loc"]) if each["type"] == "extra_forbidden" else _words(each["msg"]))
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    )


def find_repeated(spec: Spec) -> tuple[SpecProblem, ...]:
    """Names and priorities that two have."""
    pools = [(("pools", index, "name"), pool.name) for index, pool in enumerate(spec.pools)]
    found = [*_twice(pools, "a work pool above has the same name")]
    for index, pool in enumerate(spec.pools):
        place = ("pools", index, "queues")
        queues = [((*place, at, "name"), queue.name) for at, queue in enumerate(pool.queues)]
        found += _twice(queues, "a work queue above has the same name")
        asked = [((*place, at, "priority"), queue.priority) for at, queue in enumerate(pool.queues) if queue.priority]
        found += _twice(asked, "a work queue above has the same priority; Prefect keeps them different")
    return tuple(found)


def check_spec(facts: ReconcileFacts) -> tuple[SpecProblem, ...]:
    """What this server cannot do: another type for a work pool that is there, unknown types, impossible templates."""
    found: list[SpecProblem] = []
    for index, pool in enumerate(facts.spec.pools):
        if pool.name not in facts.protection.pools:
            place: Place = ("pools", index)
            if words := _type_problem(pool, facts):
                found.append(SpecProblem((*place, "type"), words))
            elif words := _template_problem(pool, facts):
                found.append(SpecProblem((*place, "base_job_template"), words))
    return tuple(found)


def _type_problem(pool: PoolSpec, facts: ReconcileFacts) -> str:
    there = facts.pools.get(pool.name)
    if there is not None and there.type != pool.type:
        return (
            f"work pool {pool.name!r} is of type {there.type!r}, and Prefect cannot change the type of one. Delete it "
            "and have it created anew, or write the type that it has"
        )
    if pool.type in facts.types:
        return ""
    nearest = get_close_matches(pool.type, facts.types, n=1)
    hint = f" The nearest is {nearest[0]!r}." if nearest else ""
    return f"unknown worker type {pool.type!r}.{hint} There are: {', '.join(sorted(facts.types))}"


def _template_problem(pool: PoolSpec, facts: ReconcileFacts) -> str:
    there = facts.pools.get(pool.name)
    defaults = facts.defaults.get(pool.type, ())
    try:
        wanted_templates(pool.base_job_template, pool.type, defaults, there.template if there else None)
    except TemplateProblem as problem:
        return str(problem)
    return ""


def _twice(named: Sequence[tuple[Place, Any]], words: str) -> Iterator[SpecProblem]:
    seen: set[Any] = set()
    for place, name in named:
        if name in seen:
            yield SpecProblem(place, words)
        seen.add(name)


def _unknown(place: Place) -> str:
    within = next((each for each in reversed(place[:-1]) if isinstance(each, str)), "")
    model = PARTS.get(within, Spec)
    nearest = get_close_matches(str(place[-1]), model.model_fields, n=1)
    hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
    return f"no such key{hint}. There are: {', '.join(model.model_fields)}"


def _words(message: str) -> str:
    return one_line(re.sub(r"^Value error, ", "", message))

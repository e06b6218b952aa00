"""One work pool beside what is written of it: created, changed, or left as it is, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.policy.plan import Kind, Target, Verb
from flows.policy.pool_spec import PoolSpec
from flows.policy.reconcile.differences import (
    AS_WRITTEN,
    PROTECTED,
    Difference,
    Step,
    basis_of,
    shown,
    side_by_side,
    template_difference,
    told,
)
from flows.policy.reconcile.facts import PoolThere, ReconcileFacts
from flows.policy.reconcile.notes import is_being_created, is_held, owners, with_notes_of, without_creating
from flows.policy.reconcile.templates import differing, wanted_templates

HALF_OPEN = "its concurrency limit is left alone while pool-auto-pause lets a few runs try"
HELD = "whether it is paused is left alone while a note of Poolkeeper says why it stands as it does"
UNFINISHED = "its creation was begun and not finished"


@dataclass(slots=True)
class Found:
    """What differs, what is to be written, from what that was decided, and what is left alone for now."""

    differences: list[Difference] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict)
    basis: dict[str, Any] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)

    def add(self, difference: Difference, value: Any, there: Any) -> None:
        self.differences.append(difference)
        self.body[difference.field] = value
        self.basis[difference.field] = there


def decide_pool(spec: PoolSpec, facts: ReconcileFacts) -> Step:
    """What happens to a work pool of the spec. Its template must be one that can be meant."""
    there = facts.pools.get(spec.name)
    if there is None:
        return _create(spec, facts)
    target = Target(Kind.POOL, there.name, there.id, pool=there.name)
    found = _compare(spec, there, facts)
    if is_being_created(there.description):
        _finish(found, there)
        reason = "; ".join([UNFINISHED, *([told(found.differences)] if found.differences else [])])
        return Step(target, Verb.CHANGE, reason, tuple(found.differences), found.body, basis_of(found.basis))
    held = "; ".join(found.held)
    differences = tuple(found.differences)
    if not differences:
        return Step(target, Verb.LEAVE, held or AS_WRITTEN, held=held)
    words = told(differences) + (f" ({held})" if held else "")
    if spec.protected:
        return Step(target, Verb.LEAVE, f"{PROTECTED}: {words}", differences, held=held)
    return Step(target, Verb.CHANGE, words, differences, found.body, basis_of(found.basis), held)


def wanted_limit(spec: PoolSpec, there: PoolThere | None, facts: ReconcileFacts) -> tuple[bool, int | None]:
    """Whether the spec says anything about the concurrency limit, and which one it is to be."""
    if spec.names("concurrency_limit"):
        return True, spec.concurrency_limit
    usual = facts.spec.default_concurrency_limit
    return usual is not None and (there is None or there.own_limit is None), usual


def _create(spec: PoolSpec, facts: ReconcileFacts) -> Step:
    (template, *_) = wanted_templates(spec.base_job_template, spec.type, facts.defaults.get(spec.type, ()), None)
    body: dict[str, Any] = {"name": spec.name, "type": spec.type, "base_job_template": template}
    if spec.description:
        body["description"] = spec.description
    _, limit = wanted_limit(spec, None, facts)
    body |= {"concurrency_limit": limit, "is_paused": spec.is_paused}
    differences = [Difference("type", "", shown(spec.type)), Difference("concurrency_limit", "", shown(limit))]
    if spec.description:
        differences.append(Difference("description", "", shown(spec.description)))
    if spec.is_paused:
        differences.append(Difference("is_paused", "", shown(True)))
    target = Target(Kind.POOL, spec.name, "", pool=spec.name)
    reason = f"in the spec, but not there: {told(differences)}"
    return Step(target, Verb.CREATE, reason, tuple(differences), body)


def _compare(spec: PoolSpec, there: PoolThere, facts: ReconcileFacts) -> Found:
    found = Found()
    is_said, limit = wanted_limit(spec, there, facts)
    if is_said and limit != there.own_limit:
        if there.is_half_open:
            found.held.append(f"{HALF_OPEN}: {shown(there.own_limit)}, in the spec {shown(limit)}")
        else:
            difference = Difference("concurrency_limit", shown(there.concurrency_limit), shown(limit))
            found.add(difference, limit, there.concurrency_limit)
    own = owners(there.description)
    if spec.names("description") and owners(spec.description) != own:
        value = with_notes_of(there.description, spec.description)
        found.add(side_by_side("description", own, owners(spec.description)), value, own)
    if spec.names("is_paused") and spec.is_paused != there.is_paused:
        if is_held(there.description):
            found.held.append(HELD)
        else:
            paused = Difference("is_paused", shown(there.is_paused), shown(spec.is_paused))
            found.add(paused, spec.is_paused, there.is_paused)
    templates = wanted_templates(spec.base_job_template, spec.type, facts.defaults.get(spec.type, ()), there.template)
    paths = template_paths(templates, there.template)
    if paths:
        found.add(template_difference(paths), templates[0], there.template)
    return found


def template_paths(wanted: Sequence[Mapping[str, Any]], there: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the template that is there differs from the one to write; nowhere, if it is one of those that will do."""
    if not wanted or any(next(differing(each, there), None) is None for each in wanted):
        return ()
    return tuple(differing(wanted[0], there))


def _finish(found: Found, there: PoolThere) -> None:
    """Take away the note that says it is being created."""
    found.body["description"] = without_creating(found.body.get("description", there.description))
    found.basis["note"] = there.description

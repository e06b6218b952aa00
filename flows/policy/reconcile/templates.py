"""Base job templates: what is wanted, and where what is there is otherwise. Values are compared, never told."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from flows.policy.facts import needs_workers
from flows.policy.pool_spec import TemplateSpec
from flows.policy.reconcile.facts import Template, TemplateProblem
from flows.policy.reconcile.left_out import kept

PLACEHOLDER = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")


def wanted_templates(
    spec: TemplateSpec | None, type_: str, defaults: Sequence[Template], there: Template | None
) -> tuple[Template, ...]:
    """The templates that the spec can mean, first the one to write; none where it does not say anything about the one
    that is `there` (None: the work pool is to be created). `TemplateProblem` where there is no such template."""
    if spec is None and there is not None:
        return ()
    if spec is not None and not spec.default:
        template = kept(spec.inline or {}, there or {})
        if there is None or list(differing(template, there)):
            _check(template)
        return (template,)
    if not defaults:
        raise TemplateProblem(f"there is no default template of worker type {type_!r} here; write one")
    overrides = spec.overrides if spec is not None else {}
    made = [
        _overridden(each, overrides) for each in defaults if each is defaults[0] or overrides.keys() <= _names(each)
    ]
    templates = tuple(kept(each, there or {}) for each in made)
    # What a work pool has without a template, its first worker takes from its own default.
    is_default = there == {} and not overrides and needs_workers(type_)
    return (*templates, {}) if is_default else templates


def differing(wanted: Any, there: Any, path: str = "") -> Iterator[str]:
    """The paths at which two templates differ in what they mean: a null is as good as nothing, keys have no order."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        for key in sorted({*wanted, *there}):
            yield from differing(wanted.get(key), there.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        for index, pair in enumerate(zip(wanted, there, strict=True)):
            yield from differing(*pair, f"{path}[{index}]")
    elif isinstance(wanted, bool) is not isinstance(there, bool) or wanted != there:
        yield path


def behind(there: Template, default: Template) -> tuple[str, ...]:
    """What the worker type's present default has that a template lacks."""
    if not there:
        return ()
    return tuple(
        f"{part}.{name}"
        for part, has, lacks in (
            ("variables", _properties(default), _properties(there)),
            ("job_configuration", default.get("job_configuration") or {}, there.get("job_configuration") or {}),
        )
        for name in has
        if name not in lacks
    )


def overrides_of(there: Template, default: Template) -> dict[str, Any] | None:
    """The defaults of variables that, put into the default template, make it the one that is there; None where there is
    more to it."""
    own, usual = _properties(there), _properties(default)
    found = {
        name: schema.get("default")
        for name, schema in own.items()
        if name in usual and isinstance(schema, Mapping) and list(differing(schema, usual[name]))
    }
    return None if list(differing(_overridden(default, found), there)) else found


def _overridden(default: Template, overrides: Mapping[str, Any]) -> Template:
    properties = _properties(default)
    for name in overrides:
        if name not in properties:
            nearest = get_close_matches(name, properties, n=1, cutoff=0)
            hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
            raise TemplateProblem(f"overrides: the default template has no variable {name!r}{hint}")
    own = {name: {**schema, "default": overrides[name]} for name, schema in properties.items() if name in overrides}
    return {**default, "variables": {**default["variables"], "properties": {**properties, **own}}} if own else default


def _check(template: Template) -> None:
    """As Prefect checks it when it is written."""
    if not template:
        return
    parts = (template.get("job_configuration"), template.get("variables"))
    if not all(isinstance(part, Mapping) and part for part in parts):
        raise TemplateProblem("a base job template has job_configuration and variables, neither of them empty")
    unknown = sorted(set(PLACEHOLDER.findall(json.dumps(parts[0]))) - set(_properties(template)))
    if unknown:
        raise TemplateProblem(f"job_configuration uses what is not among the variables: {', '.join(unknown)}")


def _names(template: Template) -> frozenset[str]:
    return frozenset(_properties(template))


def _properties(template: Template) -> Mapping[str, Any]:
    variables = template.get("variables")
    properties = variables.get("properties") if isinstance(variables, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}

"""What may be shown of a base job template, and where it holds a secret in plain text.

No text value is ever shown: a password can stand under any name. Numbers, switches and a value out of a list the
template itself declares can.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flows.policy.facts import TemplateVariable
from flows.policy.secret_names import SECRET_PLACE, holds_secret, is_literal, is_secret_name

# Under these keys there are only such references.
SECRET_PLACES = re.compile(r"(pull|from)[-_]?secrets?$", re.IGNORECASE)
# A mapping with one of these keys says where a secret is kept.
REFERENCE_KEYS = frozenset({"valueFrom", "value_from", "secretName", "secret_name", "block_document_id", "$ref"})
Place = tuple[str | int, ...]


def shown_default(schema: Mapping[str, Any]) -> str:
    """How a template variable's default is shown: the value where that is harmless, else only that it is set."""
    default, choices = schema.get("default"), schema.get("enum")
    if default is None:
        return "not set"
    if isinstance(default, bool | int | float):
        return str(default).lower()
    if isinstance(default, str) and isinstance(choices, list) and default in choices:
        return default
    return "set, not shown" if default else "empty"


def template_variables(template: Mapping[str, Any]) -> tuple[TemplateVariable, ...]:
    """The variables of a base job template, by name, without the text of any default."""
    return tuple(
        TemplateVariable(
            name=str(name),
            type=_type(schema),
            shown="set, not shown" if "default" in schema and is_secret_name(str(name)) else shown_default(schema),
        )
        for name, schema in sorted(_properties(template).items())
        if isinstance(schema, Mapping)
    )


def plain_secrets(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of the texts in a base job template that look like a secret written out, never the texts themselves."""
    return tuple(sorted({path for path, _ in _all_secrets(template)}))


def secret_places(template: Mapping[str, Any]) -> frozenset[Place]:
    """Where those texts are: the keys and indexes that lead to each of them."""
    return frozenset(place for _, place in _all_secrets(template))


def _all_secrets(template: Mapping[str, Any]) -> Iterator[tuple[str, Place]]:
    for name, schema in _properties(template).items():
        if isinstance(schema, Mapping) and "default" in schema and not SECRET_PLACES.search(str(name)):
            hidden = schema.get("format") == "password" or schema.get("writeOnly") is True
            secret = str(name) if hidden or is_secret_name(str(name)) else None
            place = ("variables", "properties", name, "default")
            yield from _secrets(schema["default"], f"variables.{name}", place, name=secret)
    yield from _secrets(template.get("job_configuration"), "job_configuration", ("job_configuration",), name=None)


def _properties(template: Mapping[str, Any]) -> Mapping[str, Any]:
    variables = template.get("variables")
    properties = variables.get("properties") if isinstance(variables, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _type(schema: Mapping[str, Any]) -> str:
    declared = schema.get("type")
    if isinstance(declared, str):
        return declared
    choices = schema.get("anyOf")
    kinds = (
        [str(each.get("type", "object")) for each in choices if isinstance(each, Mapping)]
        if isinstance(choices, list)
        else []
    )
    return " or ".join(kind for kind in kinds if kind != "null") or "any"


def _secrets(value: Any, path: str, place: Place, *, name: str | None) -> Iterator[tuple[str, Place]]:
    """Paths and places of secrets in a value. `name` is the secret's name that the value stands under, if it does."""
    if isinstance(value, str):
        if holds_secret(value) or (name is not None and is_literal(value, name)):
            yield path, place
    elif isinstance(value, Mapping):
        for key, inner, label in _items(value):
            if SECRET_PLACES.search(key):
                continue
            inherited = None if SECRET_PLACE.search(key) or REFERENCE_KEYS & value.keys() else name
            own = label if is_secret_name(label) else inherited
            yield from _secrets(inner, f"{path}.{label}", (*place, key), name=own)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _secrets(inner, f"{path}[{index}]", (*place, index), name=name)


def _items(value: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Key, value and what the value is called: Kubernetes and ECS list variables as {"name": …, "value": …}."""
    listed = value.get("name") if "value" in value and isinstance(value.get("name"), str) else None
    for key, inner in value.items():
        yield str(key), inner, listed if listed is not None and key == "value" else str(key)

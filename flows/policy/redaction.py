"""What may be shown of a base job template, and where it holds a secret in plain text.

No text value is ever shown: a password can stand under any name. Numbers, switches and a value out of a list the
template itself declares can.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flows.policy.facts import TemplateVariable

SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|credential|"
    r"auth[-_]?(string|key|header)|authorization|connection[-_]?string|(^|[-_])(pass|pwd|dsn|pat)($|[-_])",
    re.IGNORECASE,
)
# Names of places where a secret is kept: a reference, as people should write it.
SECRET_PLACE = re.compile(r"(refs?|names?|arn|path|file|block|url|uri)$", re.IGNORECASE)
# Under these keys there are only such references.
SECRET_PLACES = re.compile(r"(pull|from)[-_]?secrets?$", re.IGNORECASE)
# A mapping with one of these keys says where a secret is kept.
REFERENCE_KEYS = frozenset({"valueFrom", "value_from", "secretName", "secret_name", "block_document_id", "$ref"})
URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
# Filled in later, from a block, a variable or the job's own variables.
TEMPLATED = re.compile(r"\{\{.*?\}\}", re.DOTALL)
# What may stand around a templated secret, or instead of one.
NO_SECRET = re.compile(r"|bearer|basic|token|true|false|yes|no|on|off|none|null", re.IGNORECASE)
URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)
# `MAX_TOKENS` and `TOKEN_TTL_SECONDS` are named like secrets, but count something.
NUMBER = re.compile(r"\d+(\.\d+)?")
COUNTING_NAME = re.compile(
    r"(^|[-_])(max|min|num|count|limit|ttl|seconds|minutes|hours|days|length|size|expir\w*)($|[-_])", re.IGNORECASE
)

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
            shown="set, not shown" if "default" in schema and _is_secret(str(name)) else shown_default(schema),
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
            secret = str(name) if hidden or _is_secret(str(name)) else None
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


def _is_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None and SECRET_PLACE.search(name) is None


def _secrets(value: Any, path: str, place: Place, *, name: str | None) -> Iterator[tuple[str, Place]]:
    """Paths and places of secrets in a value. `name` is the secret's name that the value stands under, if it does."""
    if isinstance(value, str):
        if URL_WITH_PASSWORD.search(TEMPLATED.sub("", value)) or (name is not None and _is_literal(value, name)):
            yield path, place
    elif isinstance(value, Mapping):
        for key, inner, label in _items(value):
            if SECRET_PLACES.search(key):
                continue
            inherited = None if SECRET_PLACE.search(key) or REFERENCE_KEYS & value.keys() else name
            own = label if _is_secret(label) else inherited
            yield from _secrets(inner, f"{path}.{label}", (*place, key), name=own)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _secrets(inner, f"{path}[{index}]", (*place, index), name=name)


def _items(value: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Key, value and what the value is called: Kubernetes and ECS list variables as {"name": …, "value": …}."""
    listed = value.get("name") if "value" in value and isinstance(value.get("name"), str) else None
    for key, inner in value.items():
        yield str(key), inner, listed if listed is not None and key == "value" else str(key)


def _is_literal(value: str, name: str) -> bool:
    """Whether a text under a secret's name is the secret itself, and not what is filled in or what merely counts."""
    rest = TEMPLATED.sub("", value).strip()
    if NO_SECRET.fullmatch(rest) or (rest != value.strip() and URL.fullmatch(rest)):
        return False
    return not (NUMBER.fullmatch(rest) and COUNTING_NAME.search(name))

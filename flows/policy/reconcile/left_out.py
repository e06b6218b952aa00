"""Secrets in an export: a mark stands in their place, which means, read back, that what is there is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from flows.policy.reconcile.facts import Template, TemplateProblem
from flows.policy.redaction import secret_places

LEFT_OUT = "[Poolkeeper: a secret was left out here; what is there is kept]"
MISSING: Any = object()


def without_secrets(template: Template) -> tuple[Template, int]:
    """A copy with a mark in the place of each text that looks like a secret, and how many of those there are."""
    places = secret_places(template)
    return _marked(template, frozenset(places), ()), len(places)


def kept(wanted: Template, there: Template) -> Template:
    """What is wanted, with what is there in the place of each mark; `TemplateProblem` where nothing is."""
    return {key: _kept(value, there.get(key, MISSING), (key,)) for key, value in wanted.items()}


def _kept(wanted: Any, there: Any, place: tuple[str, ...]) -> Any:
    if wanted == LEFT_OUT:
        if not isinstance(there, str):
            where = ".".join(place)
            raise TemplateProblem(f"at {where} a secret was left out, and none is there to keep; refer to a block")
        return there
    if isinstance(wanted, Mapping):
        own = there if isinstance(there, Mapping) else {}
        return {key: _kept(value, own.get(key, MISSING), (*place, str(key))) for key, value in wanted.items()}
    if isinstance(wanted, list):
        items = there if isinstance(there, list) else []
        return [_kept(each, _partner(each, index, items), (*place, str(index))) for index, each in enumerate(wanted)]
    return wanted


def _partner(wanted: Any, index: int, there: Sequence[Any]) -> Any:
    """Environment variables are listed as {"name": …, "value": …}: what belongs together has the same name."""
    same_place = there[index] if index < len(there) else MISSING
    if not isinstance(wanted, Mapping) or "name" not in wanted:
        return same_place
    same = [each for each in there if isinstance(each, Mapping) and each.get("name") == wanted["name"]]
    if any(each is same_place for each in same):
        return same_place
    return same[0] if len(same) == 1 else MISSING


def _marked(value: Any, places: frozenset[tuple[str | int, ...]], place: tuple[str | int, ...]) -> Any:
    if place in places:
        return LEFT_OUT
    if isinstance(value, Mapping):
        return {key: _marked(inner, places, (*place, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_marked(inner, places, (*place, index)) for index, inner in enumerate(value)]
    return value

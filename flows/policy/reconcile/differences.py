"""Differences between a spec and what is there, side by side, and the step that ends them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import takewhile
from typing import Any

from flows.policy.plan import Number, Target, Verb, Verdict
from flows.policy.words import one_line, some_of

LONGEST_SHOWN, LEAD = 80, 20
NONE = "none"
AS_WRITTEN, UNMANAGED = "as in the spec", "unmanaged: not in the spec"
PROTECTED = "protected in the spec, so it is left as it is"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field as it is there and as it is written, as people read it; of a template only where it differs."""

    field: str
    there: str
    wanted: str

    @property
    def words(self) -> str:
        name = self.field.replace("_", " ")
        if not self.there:
            return f"{name} {self.wanted}"
        return f"{name} {self.there} → {self.wanted}"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to happen to one target. `body` is what is written to Prefect, `basis` tells what it was decided from.

    `held` says what of it is left alone for now, although it is otherwise than written.
    """

    target: Target
    verb: Verb
    reason: str
    differences: tuple[Difference, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    basis: str = ""
    held: str = ""

    @property
    def verdict(self) -> Verdict:
        numbers: dict[str, Number] = {"differences": len(self.differences)} if self.differences else {}
        for each in self.differences:
            numbers |= {f"{each.field}_before": each.there, f"{each.field}_after": each.wanted}
        return Verdict(self.target, self.verb, self.reason, numbers)


def shown(value: object) -> str:
    """A limit, a priority, a switch or a description, on one line."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        flat = one_line(value)
        return repr(flat if len(flat) <= LONGEST_SHOWN else flat[: LONGEST_SHOWN - 1] + "…")
    return str(value)


def told(differences: Sequence[Difference]) -> str:
    return "; ".join(each.words for each in differences)


def template_difference(paths: Sequence[str]) -> Difference:
    """Where two templates differ, never how."""
    return Difference("base_job_template", "", f"differs at {some_of(paths, shown=5)}")


def side_by_side(field_name: str, there: str, wanted: str) -> Difference:
    """Two texts, of long ones the part where they begin to differ."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(there, wanted, strict=False)))
    start = same - LEAD if same > LEAD and max(len(there), len(wanted)) > LONGEST_SHOWN else 0
    cut = "…" if start else ""
    parts = [shown(cut + each[start:]) if each else NONE for each in (there, wanted)]
    return Difference(field_name, parts[0], parts[1])


def basis_of(values: Mapping[str, Any]) -> str:
    """A digest of what a step was decided from: where it is another one now, something was changed meanwhile."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()

"""Circuits, kept as Prefect variables: people read them on the Variables page, and a name can be taken only once.

Each turn of a circuit is a variable of its own, named after its step, so that of two runs that decide the same turn
only one can write it down. The shadow of a dry run is kept apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from slugify import slugify

from flows.policy.circuit import Circuit, Phase
from flows.policy.override import OVERRIDES
from flows.policy.plan import Target
from flows.prefect_api.client import AlreadyThere, Api, NotFound, Refused
from flows.prefect_api.paging import Row, read_all

ENFORCED, SHADOW = "poolkeeper_circuit", "poolkeeper_shadow"
INCIDENT = "poolkeeper_incident"
OUR_VARIABLES = "poolkeeper_"
LONGEST_SLUG = 80
# What a variable holds, in characters of JSON; and what a first turn may take of it, so that later ones fit as well.
LONGEST, LONGEST_AT_FIRST = 4_999, 4_500
VARIABLES = "/variables/"


@dataclass(frozen=True, slots=True)
class KeptCircuit:
    """A circuit and the variable that holds it, last written at `kept_at`."""

    variable_id: str
    circuit: Circuit
    kept_at: datetime
    is_shadow: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of circuits, by target and then by step; what people wish; names of what cannot be read."""

    circuits: Mapping[tuple[str, str], tuple[KeptCircuit, ...]]
    shadows: tuple[KeptCircuit, ...] = ()
    overrides: object = None
    has_incident: bool = False
    unreadable: tuple[str, ...] = ()

    def of(self, target: Target) -> tuple[KeptCircuit, ...]:
        return self.circuits.get((target.kind, target.id), ())


async def read_memory(api: Api, *, dry_run: bool) -> Memory:
    """Everything that is kept. A dry run goes on with the shadow of what is not paused in truth."""
    query = {"variables": {"name": {"like_": OUR_VARIABLES}}, "sort": "NAME_ASC"}
    rows = await read_all(api, f"{VARIABLES}filter", query)
    kept = [each for each in map(_kept, rows) if each is not None]
    circuits = _by_target(each for each in kept if not each.is_shadow)
    if dry_run:
        standing = {key: each for key, each in circuits.items() if each[-1].circuit.phase is not Phase.CLOSED}
        circuits |= _by_target(each for each in kept if each.is_shadow) | standing
    ours = {row["id"]: row["name"] for row in rows if row["name"].startswith((f"{ENFORCED}_", f"{SHADOW}_"))}
    return Memory(
        circuits,
        shadows=tuple(each for each in kept if each.is_shadow),
        overrides=next((row["value"] for row in rows if row["name"] == OVERRIDES), None),
        has_incident=any(row["name"] == INCIDENT for row in rows),
        unreadable=tuple(sorted(set(ours.values()) - {ours[each.variable_id] for each in kept})),
    )


async def keep_new(api: Api, circuit: Circuit, *, shadow: bool = False) -> KeptCircuit | None:
    """Write a turn down, before it is carried out; None where another run has written that turn."""
    circuit = _fitting(circuit)
    slug = slugify(circuit.name, max_length=LONGEST_SLUG) or "unnamed"
    name = f"{SHADOW if shadow else ENFORCED}_{slug}_{circuit.id[:8]}_{circuit.step}"
    value = circuit.model_dump(mode="json")
    try:
        row = await api.write("POST", VARIABLES, {"name": name, "value": value, "tags": ["poolkeeper"]})
    except AlreadyThere:
        row = await api.read(f"{VARIABLES}name/{name}")
        # A lost answer to our own request looks the same; leases tell whose it is.
        if row.get("value") != value:
            return None
    return _kept(row)


async def keep_changed(api: Api, kept: KeptCircuit, circuit: Circuit) -> KeptCircuit:
    """Write the same turn anew."""
    circuit = _fitting(circuit)
    await api.write("PATCH", f"{VARIABLES}{kept.variable_id}", {"value": circuit.model_dump(mode="json")})
    return replace(kept, circuit=circuit)


def _fitting(circuit: Circuit) -> Circuit:
    is_first = circuit.phase is Phase.OPEN and not circuit.reopened and not circuit.applied
    longest = LONGEST_AT_FIRST if is_first else LONGEST
    fitting = circuit.within(longest)
    if fitting.length > longest:
        raise Refused(
            f"The name has {len(circuit.name)} characters: with it, what is to be remembered of the pause takes "
            f"{fitting.length}, and a Prefect variable holds {LONGEST}. Nothing was changed. Give it a shorter name."
        )
    return fitting


async def read_again(api: Api, kept: KeptCircuit) -> KeptCircuit | None:
    """As it is kept now; None where it is gone or cannot be read."""
    try:
        return _kept(await api.read(f"{VARIABLES}{kept.variable_id}"))
    except NotFound:
        return None


async def forget(api: Api, kept: KeptCircuit) -> bool:
    """Delete it; False where another run did."""
    try:
        await api.write("DELETE", f"{VARIABLES}{kept.variable_id}")
    except NotFound:
        return False
    return True


async def begin_incident(api: Api, words: str) -> bool:
    """Remember that an incident is on; False where that is remembered already."""
    try:
        await api.write("POST", VARIABLES, {"name": INCIDENT, "value": words, "tags": ["poolkeeper"]})
    except AlreadyThere:
        return False
    return True


async def end_incident(api: Api) -> None:
    try:
        await api.write("DELETE", f"{VARIABLES}name/{INCIDENT}")
    except NotFound:
        return


async def write_overrides(api: Api, wanted: Mapping[str, Any]) -> bool:
    """Have the variable in which people write, with at least these entries; what is there already stays. Whether
    anything was written."""
    try:
        row = await api.read(f"{VARIABLES}name/{OVERRIDES}")
    except NotFound:
        await api.write("POST", VARIABLES, {"name": OVERRIDES, "value": dict(wanted), "tags": ["poolkeeper"]})
        return True
    value = row["value"]
    if not isinstance(value, dict) or wanted.keys() <= value.keys():
        return False
    await api.write("PATCH", f"{VARIABLES}{row['id']}", {"value": {**wanted, **value}})
    return True


def _by_target(kept: Iterable[KeptCircuit]) -> dict[tuple[str, str], tuple[KeptCircuit, ...]]:
    found: dict[tuple[str, str], list[KeptCircuit]] = {}
    for each in sorted(kept, key=lambda each: each.circuit.step):
        found.setdefault((each.circuit.kind, each.circuit.id), []).append(each)
    return {key: tuple(each) for key, each in found.items()}


def _kept(row: Row) -> KeptCircuit | None:
    """None where the variable is none of ours, or not as it was written."""
    name = row["name"]
    if not name.startswith((f"{ENFORCED}_", f"{SHADOW}_")):
        return None
    try:
        circuit = Circuit.model_validate(row["value"])
    except ValidationError:
        return None
    return KeptCircuit(row["id"], circuit, datetime.fromisoformat(row["updated"]), name.startswith(f"{SHADOW}_"))

"""Whether what is there is what is written: differences between two descriptions of one thing."""

from collections.abc import Mapping, Sequence
from typing import Any


def differences(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of `wanted` that `there` has otherwise, by name. What `wanted` does not mention is no difference."""
    return tuple(name for name, value in wanted.items() if not _equal(value, there.get(name)))


def _equal(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, str) and isinstance(there, str):
        return wanted.strip() == there.strip()
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(_equal(value, there.get(key)) for key, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(there, Sequence)
            and not isinstance(there, str)
            and len(wanted) == len(there)
            and all(_equal(*pair) for pair in zip(wanted, there, strict=True))
        )
    return bool(wanted == there)

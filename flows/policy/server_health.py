"""Whether a server can be administered at all: the first lines of `poolkeeper doctor`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# From these versions on (major, minor) Prefect does not work, and why.
BREAKING = {
    "fastapi": ((0, 151), "its API refuses explicit nulls with 422, or its server does not import"),
    "sqlalchemy": ((2, 1), "its scheduler makes no runs at all, without an error"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what was found, and what to do, which is empty where all is well."""

    what: str
    found: str
    todo: str = ""

    @property
    def is_well(self) -> bool:
        return not self.todo


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The API and the packages around it. `problem` says why it cannot be used; a version may be unknown (Cloud)."""

    address: str
    client_version: str
    server_version: str | None = None
    problem: str | None = None
    packages: Mapping[str, str] | None = None


def check_server(facts: ServerFacts) -> tuple[Check, ...]:
    """Can this server be used at all?"""
    checks = [_packages(facts)]
    if facts.problem is not None:
        return (Check("Prefect API", "cannot be used", facts.problem), *checks)
    return (Check("Prefect API", f"{facts.address} answers"), _versions(facts), *checks)


def _versions(facts: ServerFacts) -> Check:
    ours, theirs = facts.client_version, facts.server_version
    found = f"client {ours}, server {theirs or 'does not say (Prefect Cloud)'}"
    if theirs is None or _release(theirs)[:1] == _release(ours)[:1]:
        return Check("versions", found)
    return Check("versions", found, f"Use a server of version {_release(ours)[0]}.x, or the client that fits this one.")


def _packages(facts: ServerFacts) -> Check:
    packages = facts.packages or {}
    broken = [name for name, (first_broken, _) in BREAKING.items() if _release(packages.get(name, "")) >= first_broken]
    if not broken:
        return Check(
            "packages", ", ".join(f"{name} {version}" for name, version in packages.items()) or "not looked at"
        )
    found = "; ".join(f"{name} {packages[name]} breaks Prefect: {BREAKING[name][1]}" for name in broken)
    wanted = " ".join(f"'{name}<{'.'.join(map(str, BREAKING[name][0]))}'" for name in broken)
    return Check("packages", found, f"pip install {wanted}, here and where the server runs.")


def _release(version: str) -> tuple[int, ...]:
    """Major and minor of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])

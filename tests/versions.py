"""A chosen set of tests on the oldest and the newest Prefect that the project declares, with the oldest and the newest
Python there is: `python -m tests.versions [tests …]`.

Each pair gets an environment of its own in a temporary folder. What the machine lacks is said and left out.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
# What meets Prefect most: its client's answers, its schedules, its loading of flows, and each flow once on a server.
TESTS = (
    "tests/test_entrypoints.py", "tests/test_schedules.py", "tests/test_paging.py", "tests/faults/test_fuzz.py",
    "tests/server/test_inventory.py", "tests/server/test_preview.py", "tests/server/test_auto_pause.py",
    "tests/server/test_cleanup.py", "tests/server/test_lifecycle.py", "tests/server/test_reconcile.py",
    "tests/server/test_commands.py",
)  # fmt: skip
WELL = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.add_argument("tests", nargs="*", default=list(TESTS), help="files of tests, or what else pytest takes")
    parser.add_argument("--pythons", nargs="*", help="versions such as 3.12, instead of the oldest and the newest")
    options = parser.parse_args()
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {version: python(version) for version in options.pythons or wanted_pythons(declared["requires-python"])}
    rows = []
    for version, path in found.items():
        if path is None:
            rows.append((version, "–", "left out: this machine has no such Python"))
            continue
        with tempfile.TemporaryDirectory(prefix="poolkeeper-versions-") as folder:
            rows += [(version, *row) for row in tried(path, Path(folder), declared["dependencies"], options.tests)]
    width = max(len(prefect) for _, prefect, _ in rows)
    for version, prefect, became in rows:
        print(f"Python {version:5} Prefect {prefect:{width}} {became}")
    return WELL if all(became.startswith(("passed", "left out")) for *_, became in rows) else 1


def wanted_pythons(declared: str) -> list[str]:
    """The oldest that the project declares, and the newest of those that are on this machine, or else the newest."""
    minors = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(declared)]
    there = [version for version in minors if python(version)]
    return list(dict.fromkeys([minors[0], there[-1] if there else minors[-1], minors[-1]]))


def python(version: str) -> str | None:
    """The interpreter of that version: a command of its name that works, or one that pyenv has."""
    folders = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin"))
    places = [shutil.which(f"python{version}"), *(str(folder / f"python{version}") for folder in reversed(folders))]
    return next((place for place in places if place and says_version(place) == version), None)


def says_version(place: str) -> str:
    code = "import ensurepip, sys, venv; print('.'.join(map(str, sys.version_info[:2])))"
    done = subprocess.run([place, "-c", code], check=False, capture_output=True, text=True)
    return done.stdout.strip()


def tried(path: str, folder: Path, dependencies: Sequence[str], tests: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The versions of Prefect that were tried, and what became of the tests."""
    (prefect,) = [each for each in map(Requirement, dependencies) if each.name == "prefect"]
    oldest = min((Version(each.version) for each in prefect.specifier if each.operator == ">="), default=None)
    seen: set[str] = set()
    for wanted in (f"prefect=={oldest}", str(prefect)):
        home = folder / str(len(seen))
        subprocess.run([path, "-m", "venv", str(home)], check=True)
        own = str(home / "bin/python")
        install = [own, "-m", "pip", "install", "--quiet", "-e", ".[test]", wanted]
        if subprocess.run(install, check=False, cwd=ROOT).returncode != WELL:
            yield wanted, "cannot be installed"
            continue
        asked = [own, "-c", "from importlib.metadata import version; print(version('prefect'))"]
        version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        if version in seen:
            yield version, "left out: the newest that installs is the oldest that is declared"
            continue
        seen.add(version)
        yield version, run(own, tests)


def run(own: str, tests: Sequence[str]) -> str:
    command = [own, "-m", "pytest", "-o", "addopts=--import-mode=importlib", "-q", "--no-header", *tests]
    command += ["-m", "not long"] if list(tests) == list(TESTS) else []
    done = subprocess.run(command, check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    last = done.stdout.strip().splitlines()[-1:] or ["nothing was said"]
    if done.returncode != WELL:
        print(done.stdout)
    return f"{'passed' if done.returncode == WELL else 'failed'}: {last[0]}"


if __name__ == "__main__":
    sys.exit(main())

"""The house keeps its walls: imports go one way, what decides is pure, files stay short and hide no other module."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from subprocess import run

import pytest

ROOT = Path(__file__).parents[1]
FLOWS = ROOT / "flows"
POLICY = sorted((FLOWS / "policy").rglob("*.py"))
FILES = sorted([*FLOWS.rglob("*.py"), *(ROOT / "deployments").rglob("*.py")])
# What stands directly in flows/ and is not one of the flows.
HANDS = {"clearing", "handling", "overview", "reconciling"}
ROOMS = {"__init__", "apply", "prefect_api", "report", "policy", "spec_file"} | HANDS
ENTRIES = sorted(path for path in FLOWS.glob("*.py") if path.stem not in ROOMS)

CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}
INPUT_AND_OUTPUT = {"open", "print", "input", "exec", "eval", "breakpoint"}
OUTSIDE = {"os", "pathlib", "socket", "random", "time", "subprocess", "asyncio", "logging", "secrets", "threading"}
TO_THE_API = ("prefect.client.orchestration", "prefect.events", "httpx")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=named(path))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, and every name that it imports from one, as `module.name`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)} imports from where it stands"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_there_is_a_house_to_look_at() -> None:
    assert FLOWS / "inventory.py" in ENTRIES
    assert len(POLICY) > 10


def test_imports_go_one_way() -> None:
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as lint; lint()"]
    checked = run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert " 0 broken" in checked.stdout


@pytest.mark.parametrize("path", POLICY, ids=named)
def test_policy_imports_the_standard_library_pydantic_and_policy_alone(path: Path) -> None:
    for module in imports(path):
        top = module.partition(".")[0]
        assert top not in OUTSIDE, f"{module} reaches outside"
        assert top in sys.stdlib_module_names or top == "pydantic" or is_within(module, "flows.policy"), module


@pytest.mark.parametrize("path", POLICY, ids=named)
def test_policy_reads_no_clock_and_nothing_else_outside_itself(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS, f"line {node.lineno}: .{node.func.attr}()"
        elif isinstance(node, ast.Name):
            assert node.id not in INPUT_AND_OUTPUT, f"line {node.lineno}: {node.id}"


@pytest.mark.parametrize("path", POLICY, ids=named)
def test_nothing_in_policy_waits(path: Path) -> None:
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert [node.lineno for node in ast.walk(tree(path)) if isinstance(node, waiting)] == []


@pytest.mark.parametrize("path", POLICY, ids=named)
def test_nothing_in_policy_changes_what_belongs_to_the_module(path: Path) -> None:
    assert [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Global)] == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_imports_an_entry(path: Path) -> None:
    entries = {f"flows.{entry.stem}" for entry in ENTRIES}
    assert [module for module in imports(path) if any(is_within(module, entry) for entry in entries)] == []


@pytest.mark.parametrize("path", sorted(FLOWS.rglob("*.py")), ids=named)
def test_only_prefect_api_talks_to_prefects_api(path: Path) -> None:
    if path.parent == FLOWS / "prefect_api":
        return
    talks = [module for module in imports(path) if any(is_within(module, client) for client in TO_THE_API)]
    assert talks == []


@pytest.mark.parametrize("path", ENTRIES, ids=named)
def test_no_model_lives_in_an_entry(path: Path) -> None:
    assert [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)] == []


def test_nothing_in_flows_hides_another_module() -> None:
    # A flow is loaded by its path, with the folder it stands in first on the import path.
    here = {path.stem for path in FLOWS.iterdir() if not path.name.startswith("__")}
    assert here & (sys.stdlib_module_names | packages_distributions().keys()) == set()


@pytest.mark.parametrize("path", ENTRIES, ids=named)
def test_an_entry_is_short(path: Path) -> None:
    assert lines(path) < 60


@pytest.mark.parametrize("path", POLICY, ids=named)
def test_a_policy_fits_on_two_screens(path: Path) -> None:
    assert lines(path) < 150


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_module_is_not_long(path: Path) -> None:
    assert lines(path) < 300

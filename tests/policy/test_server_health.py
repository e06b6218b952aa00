from dataclasses import replace
from typing import Any

import pytest

from flows.policy.server_health import Check, ServerFacts, check_server

SERVER = ServerFacts(
    address="http://127.0.0.1:4200/api",
    client_version="3.8.8",
    server_version="3.8.8",
    packages={"fastapi": "0.150.0", "sqlalchemy": "2.0.58"},
)


def of_server(**changed: Any) -> dict[str, Check]:
    return {check.what: check for check in check_server(replace(SERVER, **changed))}


def unwell(checks: dict[str, Check]) -> set[str]:
    return {what for what, check in checks.items() if not check.is_well}


def test_a_good_server_is_all_well() -> None:
    assert unwell(of_server()) == set()
    assert set(of_server()) == {"Prefect API", "versions", "packages"}


def test_a_server_that_cannot_be_used_is_not_and_the_problem_says_what_to_do() -> None:
    checks = of_server(problem="Start a server.", server_version=None)
    assert unwell(checks) == {"Prefect API"}
    assert checks["Prefect API"].todo == "Start a server."


@pytest.mark.parametrize("version", ["2.20.4", "4.0.0", "4.0.0rc1"])
def test_a_server_of_another_major_version_is_flagged(version: str) -> None:
    checks = of_server(server_version=version)
    assert unwell(checks) == {"versions"}
    assert "3.x" in checks["versions"].todo


@pytest.mark.parametrize("version", ["3.0.0", "3.8.7", "3.9.1", "3.8.8+local", None])
def test_a_server_of_the_same_major_version_or_one_that_does_not_say_is_not(version: str | None) -> None:
    assert unwell(of_server(server_version=version)) == set()


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("fastapi", "0.151"),
        ("fastapi", "0.151.0"),
        ("fastapi", "0.155.2"),
        ("fastapi", "1.0.0"),
        ("sqlalchemy", "2.1"),
        ("sqlalchemy", "2.1.0b1"),
        ("sqlalchemy", "3.0"),
    ],
)
def test_a_package_that_breaks_prefect_is_flagged(package: str, version: str) -> None:
    checks = of_server(packages={**(SERVER.packages or {}), package: version})
    assert unwell(checks) == {"packages"}
    assert f"{package} {version}" in checks["packages"].found
    assert f"'{package}<" in checks["packages"].todo


@pytest.mark.parametrize(
    "packages",
    [
        {"fastapi": "0.139.0", "sqlalchemy": "2.0.40"},
        {"fastapi": "0.150.9", "sqlalchemy": "2.0.58"},
        {"sqlalchemy": "2.0.100"},
        {"other": "99.0"},
        {},
        None,
    ],
)
def test_packages_that_do_not_break_it_are_not(packages: dict[str, str] | None) -> None:
    assert unwell(of_server(packages=packages)) == set()


def test_where_two_packages_break_it_both_are_named() -> None:
    found = of_server(packages={"fastapi": "0.155.0", "sqlalchemy": "2.1.0"})["packages"]
    assert "fastapi" in found.todo
    assert "sqlalchemy" in found.todo


def test_packages_are_judged_also_where_the_api_does_not_answer() -> None:
    checks = of_server(problem="It does not answer.", packages={"fastapi": "0.155.0"})
    assert unwell(checks) == {"Prefect API", "packages"}

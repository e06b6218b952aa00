import re

import pytest
from hypothesis import given

from flows.report.page import report_key
from tests.strategies import names


def test_a_report_of_the_fleet_is_kept_under_the_flows_name() -> None:
    assert report_key("pool-inventory", None) == "pool-inventory"


def test_a_report_of_one_pool_adds_its_slug() -> None:
    assert report_key("pool-inventory", "ETL nightly (new)") == "pool-inventory-etl-nightly-new"


@given(names)
def test_every_name_makes_a_key_that_prefect_accepts(name: str) -> None:
    assert re.fullmatch(r"pool-inventory-[a-z0-9]+(-[a-z0-9]+)*", report_key("pool-inventory", name))


def test_names_without_a_slug_are_told_apart() -> None:
    assert report_key("pool-inventory", "***") != report_key("pool-inventory", "???")
    assert report_key("pool-inventory", "***") == report_key("pool-inventory", "***")


@pytest.mark.parametrize("name", ["table", "Table", "table-2", "record"])
def test_a_pool_named_like_an_artifact_of_the_fleet_has_a_key_of_its_own(name: str) -> None:
    assert report_key("pool-inventory", name) == f"pool-inventory-pool-{name.lower()}"


def test_very_long_names_make_keys_of_a_length_that_every_database_takes_and_are_told_apart() -> None:
    one, other = (report_key("pool-inventory", "long-" * 2000 + end) for end in "ab")
    assert max(len(one), len(other)) < 250
    assert one != other

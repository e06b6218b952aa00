"""What the flows leave in Prefect."""

import pytest

from flows.prefect_api import connect, records
from tests.rest import Rest, unique

pytestmark = pytest.mark.anyio


async def publish(key: str, verdict: str, rows: int = 1) -> list[str]:
    async with connect() as api:
        table = [{"number": number} for number in range(rows)]
        return await records.publish(api, key, description=verdict, markdown=f"**{verdict}**", rows=table)


def versions(rest: Rest, key: str) -> list[str]:
    found = rest.ask("/artifacts/filter", artifacts={"key": {"any_": [key]}}, sort="CREATED_DESC")
    return [artifact["description"] for artifact in found]


async def test_old_versions_of_a_report_are_forgotten(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "KEPT_VERSIONS", 2)
    key, other = unique("report"), unique("other")
    await publish(other, "kept")
    for number in range(5):
        await publish(key, str(number))
    assert versions(rest, key) == ["4", "3"]
    assert versions(rest, f"{key}-table") == ["4", "3"]
    assert versions(rest, other) == ["kept"]


async def test_a_table_too_large_for_a_page_comes_in_parts(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "ROWS_PER_PART", 10)
    key = unique("long")
    await publish(key, "long", rows=25)
    parts = [f"{key}-table", f"{key}-table-2", f"{key}-table-3"]
    assert [len(rest.table(part)) for part in parts] == [10, 10, 5]
    assert [row["number"] for part in parts for row in rest.table(part)] == list(range(25))


async def test_an_empty_table_is_there_and_empty(rest: Rest) -> None:
    key = unique("empty")
    await publish(key, "empty", rows=0)
    assert rest.table(f"{key}-table") == []


async def test_what_was_kept_by_another_version_is_as_good_as_nothing(rest: Rest) -> None:
    key = unique("kept")
    async with connect() as api:
        assert await records.read_record(api, key) is None
        rest.ask("/artifacts/", key=key, type="table", data="not json")
        assert await records.read_record(api, key) is None

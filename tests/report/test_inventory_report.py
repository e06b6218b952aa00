import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.facts import DeploymentFacts
from flows.policy.fleet import PoolState
from flows.policy.redaction import plain_secrets
from flows.prefect_api.work_pools import describe_template
from flows.report.page import Report
from tests.builders import NOW, ago, deployment, facts, late, pending, queue, record, report, run, state, worker
from tests.report.test_markdown import pipes
from tests.strategies import CANARY, deployments_without_pool, fleets, late_runs, states, templates_with_canary

COLUMNS = [
    "pool",
    "type",
    "status",
    "paused",
    "concurrency_limit",
    "active",
    "queues",
    "workers_online",
    "workers_offline",
    "deployments",
    "late",
    "finished",
    "failed",
    "findings",
]


def tables(markdown: str) -> list[list[str]]:
    """The tables of a page, each as its lines."""
    blocks = [block.split("\n") for block in markdown.split("\n\n")]
    return [lines for lines in blocks if lines[0].startswith("|")]


def is_whole(page: Report) -> bool:
    """Whether each row of each table has as many cells as its heading."""
    return all(len({pipes(line) for line in lines}) == 1 for lines in tables(page.markdown))


PICTURE = re.compile(r'^<img alt="[^"<>]*" src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+">$', re.MULTILINE)


def holds_no_html(page: Report) -> bool:
    """Whether the report's own line breaks and its picture are the only tags that are not shown as text."""
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", PICTURE.sub("", page.markdown))
    return "<" not in unescaped.replace("<br>", "")


def section(page: Report, heading: str) -> str:
    return page.markdown.partition(f"## {heading}\n")[2].partition("\n## ")[0]


@given(fleets())
def test_the_table_has_a_row_for_every_pool_with_the_columns_of_the_contract(states: list[PoolState]) -> None:
    rows = report(facts(*states)).rows
    assert [row["pool"] for row in rows] == [each.pool.name for each in states]
    assert all(list(row) == COLUMNS for row in rows)


@given(states())
def test_an_inspected_pool_has_the_same_row_as_in_the_fleet(there: PoolState) -> None:
    inspected = facts(there, pools=(there.pool.name,))
    assert inspected.selection.narrowed_to == there.pool.name
    assert report(inspected).rows == report(facts(there)).rows


def test_a_row_holds_the_numbers() -> None:
    busy = state(
        active=(run("a"), pending("b")),
        workers=(worker("w1"), worker("w2", last_heartbeat_at=ago(days=1)), worker("w3", last_heartbeat_at=None)),
        queues=(queue(), queue("slow")),
        deployments=4,
        late=3,
        finished=20,
        failed=10,
        of={"concurrency_limit": 2},
    )
    (row,) = report(facts(busy)).rows
    assert row == {
        "pool": "etl",
        "type": "process",
        "status": "READY",
        "paused": False,
        "concurrency_limit": 2,
        "active": 2,
        "queues": 2,
        "workers_online": 1,
        "workers_offline": 2,
        "deployments": 4,
        "late": 3,
        "finished": 20,
        "failed": 10,
        "findings": "failing, late-runs, saturated",
    }


@given(fleets(), st.lists(deployments_without_pool, max_size=3))
def test_no_name_breaks_the_page_of_the_fleet(states: list[PoolState], without_pool: list[DeploymentFacts]) -> None:
    observed = facts(*states)
    there = replace(observed.fleet, without_pool=tuple(without_pool), gone=("| gone", "a\nb"))
    page = report(replace(observed, fleet=there, record=record()))
    assert is_whole(page)
    assert holds_no_html(page)


@given(states(), st.data())
def test_no_name_breaks_the_page_of_a_pool(there: PoolState, data: st.DataObject) -> None:
    observed = facts(there, pools=(there.pool.name,), late_runs=data.draw(late_runs(there)))
    page = report(observed)
    assert is_whole(page)
    assert holds_no_html(page)


@given(fleets(), st.lists(deployments_without_pool, max_size=3))
def test_the_verdict_on_a_fleet_is_one_line(states: list[PoolState], without_pool: list[DeploymentFacts]) -> None:
    observed = facts(*states)
    verdict = report(replace(observed, fleet=replace(observed.fleet, without_pool=tuple(without_pool)))).verdict
    assert verdict.splitlines() == [verdict]


@given(states())
def test_the_verdict_on_a_pool_is_one_line(there: PoolState) -> None:
    verdict = report(facts(there, pools=(there.pool.name,))).verdict
    assert verdict.splitlines() == [verdict]


@given(st.lists(templates_with_canary(), min_size=1, max_size=3))
def test_a_report_never_holds_a_text_of_a_template(templates: Sequence[dict[str, Any]]) -> None:
    there = [state(f"pool-{i}", of={"template": describe_template(each)}) for i, each in enumerate(templates)]
    for page in (report(facts(*there)), *(report(facts(*there, pools=(each.pool.name,))) for each in there)):
        assert CANARY not in repr(page)


def test_a_secret_is_reported_by_its_place() -> None:
    template = {"job_configuration": {"env": {"DB_PASSWORD": CANARY}}}
    assert plain_secrets(template) == ("job_configuration.env.DB_PASSWORD",)
    page = report(facts(state(of={"template": describe_template(template)}), pools=("etl",)))
    assert "job\\_configuration\\.env\\.DB\\_PASSWORD" in page.markdown
    assert page.verdict == "etl: secret-in-template"


@pytest.mark.parametrize(("pools", "why"), [((), "empty list"), (("x*",), "No work pool matches 'x*'")])
def test_an_empty_selection_says_why(pools: tuple[str, ...], why: str) -> None:
    page = report(facts(state(), pools=pools))
    assert why in page.verdict
    assert page.rows == ()
    assert tables(page.markdown) == []
    assert "Nothing was read beyond the names" in page.markdown


def test_a_fleet_that_is_well_needs_no_attention() -> None:
    page = report(facts(state(), state("other", of={"concurrency_limit": None})))
    assert page.verdict == "2 work pools, none needs attention"
    assert "Needs attention" not in page.markdown


def test_a_few_pools_that_need_attention_are_named_the_most_pressing_first() -> None:
    page = report(facts(state("a", late=1), state("b", of={"is_paused": True}), state("c")))
    assert page.verdict == "3 work pools, 2 need attention: b (paused), a (late-runs)"
    assert report(facts(state("a", late=1))).verdict == "1 work pool, 1 needs attention: a (late-runs)"


def test_many_pools_that_need_attention_are_counted() -> None:
    pools = [*(state(name, late=1) for name in "abcd"), state("e", of={"is_paused": True})]
    assert report(facts(*pools)).verdict == "5 work pools, 5 need attention: 1 paused, 4 late-runs"


def test_deployments_without_a_pool_are_in_the_verdict_and_on_the_page() -> None:
    observed = facts(state())
    there = replace(observed.fleet, without_pool=(deployment("flow/a", scheduled_runs=2),))
    page = report(replace(observed, fleet=there))
    assert "1 deployment without a work pool: flow/a; 2 scheduled runs of theirs can never start" in page.verdict
    assert "flow/a" in section(page, "Without a work pool")


def test_deployments_that_were_too_many_to_read_are_counted() -> None:
    for orphans in ((deployment("flow/a"),), ()):
        observed = facts(state())
        there = replace(observed.fleet, without_pool=orphans, unlisted_without_pool=7)
        assert "7 more deployments have no work pool" in report(replace(observed, fleet=there)).markdown


def test_pools_that_went_while_they_were_read_are_named() -> None:
    observed = facts(state())
    page = report(replace(observed, fleet=replace(observed.fleet, gone=("old-one",))))
    assert "Deleted while they were read: old\\-one." in page.markdown


def test_a_long_list_is_cut_and_says_so_while_the_table_has_every_row() -> None:
    page = report(facts(*(state(f"pool-{i:03}", late=1) for i in range(60))))
    assert section(page, "Needs attention").rstrip().endswith("… and 10 more.")
    assert len(page.rows) == 60
    assert "pool-inventory-table" in page.markdown


def test_what_changed_is_said_and_that_nothing_did() -> None:
    assert "no earlier inventory" in section(report(facts(state())), "Changed since the last inventory")
    unchanged = report(facts(record=record(), pools=("*",), also=["x"]))
    assert "Nothing." in section(unchanged, "Changed since the last inventory")
    created = report(facts(state(of={"created_at": NOW}), record=record()))
    assert "created" in section(created, "Changed since the last inventory")


def test_the_page_of_a_pool_says_what_holds_its_slots_and_what_looks_stuck() -> None:
    there = state(active=(run("fresh"), pending("old", since=ago(hours=2)), run("lost", queue_id=None)))
    slots = section(report(facts(there, pools=("etl",))), "What holds the slots").split("\n")
    assert [line for line in slots if "looks stuck" in line] == [line for line in slots if "[old]" in line]
    assert sum("default" in line for line in slots) == 2


def test_the_page_of_a_pool_says_why_each_late_run_is_late() -> None:
    there = state(late=2, workers=(), queues=(queue(), queue("slow", is_paused=True)))
    waiting = (
        late("a", queue_id="id-etl-slow", expected_start_at=ago(hours=1)),
        late("b", expected_start_at=ago(hours=2)),
    )
    rows = section(report(facts(there, pools=("etl",), late_runs=waiting)), "Late runs").strip().split("\n")[2:]
    assert [row.split("]")[0] for row in rows] == ["| [b", "| [a"]
    assert "no worker is online" in rows[0]
    assert "the work queue \\'slow\\' is paused" in rows[1]


def test_the_page_of_a_pool_says_when_nothing_holds_a_slot_or_is_late() -> None:
    page = report(facts(state(workers=()), pools=("etl",)))
    assert "Nothing: no run of this pool is pending or running." in page.markdown
    assert "## Late runs\n\nNone." in page.markdown
    assert "None has ever asked this pool for work." in page.markdown
    assert "It declares no variables." in page.markdown


def test_the_page_of_a_pool_that_is_well_says_so() -> None:
    assert report(facts(state(), pools=("etl",))).verdict == "etl: nothing to look at"


def test_the_work_for_one_pool_does_not_grow_with_the_fleet() -> None:
    class Watched(str):
        """A pool's id that counts how often somebody looks at it."""

        __slots__ = ()
        looks = 0

        def __hash__(self) -> int:
            Watched.looks += 1
            return super().__hash__()

        def __eq__(self, other: object) -> bool:
            Watched.looks += 1
            return super().__eq__(other)

    pools = 200
    report(facts(*(state(f"pool-{i}", late=1, of={"id": Watched(i)}) for i in range(pools))))
    assert Watched.looks <= 20 * pools

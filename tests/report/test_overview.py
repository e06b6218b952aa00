from datetime import datetime
from typing import Any

from hypothesis import given

from flows.policy.circuit import Circuit, Phase
from flows.policy.lease import with_note
from flows.policy.overview import Change, NextRun, OverviewFacts
from flows.policy.plan import Kind
from flows.report.overview import SHOWN, overview_page, overview_verdict
from tests.builders import NOW, ago, coming, pool
from tests.circuits import circuit, pool_target
from tests.strategies import names


def row(name: str = "etl", **changed: Any) -> dict[str, Any]:
    """A row of the inventory's table."""
    usual = {
        "concurrency_limit": 4,
        "active": 1,
        "finished": 20,
        "failed": 0,
        "late": 0,
        "paused": False,
        "findings": "",
    }
    return {"pool": name, **usual, **changed}


def change(name: str = "etl", at: datetime = NOW, **changed: Any) -> Change:
    reason, by = "10 of 10 runs failed", "pool-auto-pause"
    usual = {"kind": Kind.POOL, "did": "paused", "id": f"id-{name}", "reason": reason, "by": by}
    fields: dict[str, Any] = {**usual, **changed}
    return Change(at, name=name, **fields)


def overview(**facts: Any) -> OverviewFacts:
    return OverviewFacts(NOW, **{"fleet": (row(),), "fleet_at": ago(minutes=3), **facts})


def open_circuit(name: str = "etl", **changed: Any) -> Circuit:
    return circuit(Phase.OPEN, of=pool_target(name), **changed)


def test_the_first_line_says_what_needs_attention_and_what_was_done() -> None:
    facts = overview(
        fleet=(row(), row("gpu", findings="paused, failing"), row("old", findings="idle")),
        circuits=(open_circuit("gpu"),),
        changes=(change("gpu"),),
        run_changes={"deleted": 40},
    )
    assert overview_verdict(facts) == (
        "3 work pools, 1 needs attention; 1 circuit not closed; 41 changes in the last 24 hours"
    )


def test_before_the_first_inventory_it_says_so() -> None:
    assert overview_verdict(OverviewFacts(NOW)).startswith("no inventory yet; 0 changes")


def test_each_pause_says_until_when_and_why_and_links_to_where_it_can_be_ended() -> None:
    page = overview_page(overview(circuits=(open_circuit(until=coming(minutes=9)),)))
    assert "[etl](../../work-pools/work-pool/etl)" in page
    assert "2026-03-29 12:09:00 UTC" in page
    assert "5 of 10 runs failed" in page


def test_a_pool_that_a_circuit_paused_is_not_told_of_twice() -> None:
    paused = pool("etl", is_paused=True)
    facts = overview(circuits=(open_circuit("etl"),), paused=(paused, pool("gpu", is_paused=True)))
    assert [each.name for each, _ in facts.paused_otherwise] == ["gpu"]


def test_a_persons_pause_shows_what_the_note_on_the_pool_says() -> None:
    noted = pool("gpu", is_paused=True, description="[Poolkeeper: paused by Ann until Monday. Pause 0123abcd]\n\nmine")
    page = overview_page(overview(paused=(noted, pool("old", is_paused=True, description="mine"))))
    assert "paused by Ann until Monday\\." in page
    assert "0123abcd" not in page
    assert "by a person; no note says why" in page.replace("\\", "")


def test_closed_circuits_are_not_told_of() -> None:
    assert "Nothing." in overview_page(overview(circuits=(circuit(Phase.CLOSED),)))


def test_what_was_done_tells_when_what_why_and_by_what() -> None:
    page = overview_page(overview(changes=(change(by="pool-lifecycle, asked by Ann", run_id="id-run"),)))
    assert "paused [etl](../../work-pools/work-pool/etl)" in page
    assert "[pool-lifecycle, asked by Ann](../../runs/flow-run/id-run)" in page


def test_changes_of_runs_are_counted() -> None:
    assert "1 run crashed, 1200 runs deleted." in overview_page(overview(run_changes={"deleted": 1200, "crashed": 1}))


def test_what_is_too_long_is_counted() -> None:
    changes = tuple(change(f"pool-{number}") for number in range(SHOWN + 5))
    page = overview_page(overview(changes=changes, more_changes=100))
    assert "… and 105 more." in page


def test_a_run_of_the_keeper_that_is_late_stands_out() -> None:
    runs = (NextRun(ago(minutes=20), "pool-auto-pause", "id-a"), NextRun(coming(minutes=5), "pool-inventory", "id-b"))
    page = overview_page(overview(next_runs=runs))
    assert "**late by 20 min**" in page
    assert "in 5 min" in page


def test_without_any_scheduled_run_it_says_where_to_look() -> None:
    assert "None is scheduled" in overview_page(overview())


@given(names, names)
def test_no_name_or_reason_can_break_the_page(name: str, reason: str) -> None:
    facts = overview(
        fleet=(row(name, findings="failing"),),
        circuits=(open_circuit(name, reason=reason),),
        paused=(pool("other", is_paused=True, description=with_note(name, reason, "0abc.1")),),
        changes=(change(name, reason=reason),),
    )
    page = overview_page(facts)
    plain = overview_page(overview(
        fleet=(row(findings="failing"),),
        circuits=(open_circuit(),),
        paused=(pool("other", is_paused=True, description=with_note("a", "b", "0abc.1")),),
        changes=(change(),),
    ))  # fmt: skip
    assert page.count("\n") == plain.count("\n")

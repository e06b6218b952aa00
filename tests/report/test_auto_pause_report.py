import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.auto_pause import decide_circuits
from flows.policy.circuit import Phase
from flows.policy.failure_threshold import Tally
from flows.policy.override import read_overrides
from flows.policy.plan import ActionLimit, Outcome, Result
from flows.policy.recovery import Recovery
from flows.policy.selection import select_remaining
from flows.policy.watched import AutoPauseFacts, WatchedPool
from flows.report.auto_pause import AutoPause, auto_pause_report
from flows.report.page import Report
from tests.builders import ago
from tests.circuits import (
    auto_pause_facts,
    circuit,
    gate,
    pool_target,
    rules,
    waiting,
    watched,
    watched_pool,
)
from tests.report.test_inventory_report import tables
from tests.report.test_markdown import pipes
from tests.strategies import names

COLUMNS = ["kind", "target", "id", "verb", "reason", "outcome", "circuit", "until", "finished", "failed"]


def failing(name: str) -> WatchedPool:
    return watched_pool(name, failed=10, tally=Tally(12, 10))


def report(
    facts: AutoPauseFacts, result: Result = Result.DONE, *, dry_run: bool = False, recovery: Recovery | None = None
) -> Report:
    its_rules = rules(recovery=recovery or Recovery())
    decision = decide_circuits(facts, its_rules, ActionLimit())
    job = AutoPause(facts, decision, its_rules, dry_run, unreadable=(), key="pool-auto-pause")
    return auto_pause_report(job, [Outcome(verdict, result) for verdict in decision.plan.actions])


def test_the_verdict_says_what_was_paused_and_what_is_open() -> None:
    facts = auto_pause_facts(failing("etl"), watched_pool("gpu"))
    assert report(facts).verdict == "2 work pools; paused: etl"


def test_a_dry_run_says_what_would_be() -> None:
    found = report(auto_pause_facts(failing("etl")), Result.PLANNED, dry_run=True)
    assert found.verdict == "Dry run: 1 work pool; would be paused: etl"
    assert "Nothing was changed" in found.markdown


def test_nothing_to_do_is_said() -> None:
    found = report(auto_pause_facts(watched_pool("etl", tally=Tally(20, 0))))
    assert found.verdict == "1 work pool; nothing to do"
    assert "None is open." in found.markdown


def test_what_failed_to_be_paused_is_not_told_as_open() -> None:
    assert report(auto_pause_facts(failing("etl")), Result.FAILED).verdict == "1 work pool; 1 failed"


def test_an_outage_is_one_incident_and_pauses_nothing() -> None:
    found = report(auto_pause_facts(*[failing(f"pool-{number}") for number in range(6)]), Result.REFUSED)
    assert "6 of 6 work pools fail at once" in found.verdict
    assert "paused:" not in found.verdict
    assert "**One incident.**" in found.markdown
    assert [row["outcome"] for row in found.rows] == ["refused"] * 6


def test_every_row_has_the_columns_of_an_acting_job() -> None:
    found = report(auto_pause_facts(failing("etl"), watched_pool("gpu")))
    assert [list(row) for row in found.rows] == [COLUMNS, COLUMNS]
    paused, left = found.rows
    assert (paused["verb"], paused["circuit"], paused["outcome"]) == ("pause", "open", "done")
    assert (left["verb"], left["circuit"], left["outcome"], left["until"]) == ("leave", "closed", "", None)


def test_runs_that_are_dropped_are_listed() -> None:
    over = watched(circuit(until=ago(seconds=1)), waiting=(waiting("old-owl"), waiting("older-owl")))
    found = report(auto_pause_facts(WatchedPool(over)), recovery=Recovery(backlog="drop"))
    assert "backlog, 2 actions: 2 done" in found.verdict
    assert "## Runs dropped from the backlog" in found.markdown
    assert [row["kind"] for row in found.rows] == ["run", "run", "pool"]


def test_failures_that_pause_nothing_say_why() -> None:
    found = report(auto_pause_facts(watched_pool("etl", failed=3, tally=Tally(63, 3))))
    assert "## Failures that pause nothing" in found.markdown
    assert "3 of 63 runs failed" in found.markdown.replace("\\", "")


def test_a_wish_that_is_not_understood_is_told() -> None:
    facts = auto_pause_facts(watched_pool("etl"), overrides=read_overrides({"etl": "sometimes"}))
    assert "says neither `open` nor `disabled` of it: etl" in report(facts).markdown


def test_a_pool_that_is_gone_meanwhile_is_an_answer() -> None:
    facts = AutoPauseFacts(
        select_remaining(["etl"], [], ["gpu"]), (), read_overrides(None), auto_pause_facts().protection, {}
    )
    assert report(facts).verdict == "Gone meanwhile: 'etl'. Nothing to do."


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.HALF_OPEN])
def test_what_stands_is_shown_with_its_reason(phase: Phase) -> None:
    found = report(auto_pause_facts(WatchedPool(watched(circuit(phase, reason="5 of 10 runs failed")))))
    assert found.verdict == f"1 work pool; nothing to do; {phase}: etl"
    assert "5 of 10 runs failed" in found.markdown


@given(names, st.sampled_from([None, *Phase]))
def test_no_name_or_reason_breaks_a_table(name: str, phase: Phase | None) -> None:
    target = pool_target(name)
    its = circuit(phase, of=target, reason=name) if phase else None
    there = watched(its, gate=gate(target), failed=10, tally=Tally(10, 10))
    found = report(auto_pause_facts(WatchedPool(there)))
    for table in tables(found.markdown):
        assert {pipes(line) for line in table} == {pipes(table[0])}
    assert not re.search(r"<(?!br|img)[a-z]", found.markdown)
    assert "\n" not in found.verdict

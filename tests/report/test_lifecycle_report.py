import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.dependents import Dependents
from flows.policy.lifecycle.decision import Decision, SeenPool, decide_lifecycle
from flows.policy.lifecycle.request import Action, DeleteOptions, Hand, Request
from flows.policy.plan import Kind, Outcome, Result
from flows.policy.protection import Protection
from flows.policy.selection import Selection
from flows.report.lifecycle import Lifecycle, lifecycle_report
from flows.report.page import Report
from tests.builders import NOW, deployment, pool, run, worker
from tests.circuits import waiting
from tests.strategies import HOSTILE, names

ARCHIVE = DeleteOptions(archive_deployments=True)


def decided(action: Action, *seen: SeenPool, by: str = "Ann", **changed: Any) -> tuple[Hand, Decision]:
    hand = Hand(Request(action, "etl", **{"reason": "upgrade", **changed}), by, NOW)
    return hand, decide_lifecycle(hand, seen, Protection(), {Kind.POOL: 20})


def report(
    hand: Hand, decision: Decision, *results: Result, detail: str = "", still: dict[str, Any] | None = None
) -> Report:
    became = results or (Result.PLANNED,) * len(decision.plan.actions)
    outcomes = [Outcome(verdict, result, detail) for verdict, result in zip(decision.plan.actions, became, strict=True)]
    job = Lifecycle(hand, Selection(("etl",)), decision, "pool-lifecycle-etl", still or {})
    return lifecycle_report(job, outcomes)


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ((), "pause etl (Ann: upgrade)"),
        ((Result.DONE,), "paused etl (Ann: upgrade)"),
        ((Result.SKIPPED,), "etl was left alone: so it is (Ann: upgrade)"),
        ((Result.FAILED,), "etl could not be paused: so it is (Ann: upgrade)"),
    ],
)
def test_the_verdict_says_what_became_of_it(results: tuple[Result, ...], verdict: str) -> None:
    assert report(*decided("pause", SeenPool(pool())), *results, detail="so it is").verdict == verdict


def test_a_dry_run_says_so_and_that_it_would_be_refused() -> None:
    seen = SeenPool(pool(), dependents=Dependents((deployment(),), workers=(worker(),)))
    told = report(*decided("delete", seen, dry_run=True))
    assert told.verdict == "Dry run: delete etl (Ann: upgrade)"
    assert "It would be refused: Work pool" in told.markdown
    assert "Nothing was changed: this was a dry run." in told.markdown


def test_what_depends_on_a_pool_is_a_row_each_and_stands_on_the_page() -> None:
    seen = SeenPool(pool(), dependents=Dependents((deployment(),), workers=(worker(),), automations={"7": "names it"}))
    told = report(*decided("delete", seen), Result.REFUSED, Result.REFUSED)
    assert told.verdict.startswith("Refused: Work pool 'etl' is needed: 1 online worker (etl/worker-1), 1 deployment")
    found = [(row["kind"], row["target"], row["verb"], row["outcome"]) for row in told.rows]
    assert found == [
        ("pool", "etl", "pause", "refused"),
        ("worker", "etl/worker-1", "leave", ""),
        ("deployment", "flow/nightly", "leave", ""),
        ("automation", "names it", "leave", ""),
        ("pool", "etl", "delete", "refused"),
    ]
    assert "## What depends on etl" in told.markdown
    assert "What cannot come back" in told.markdown


def test_the_parts_add_up() -> None:
    seen = SeenPool(pool(), dependents=Dependents((deployment("f/a"), deployment("f/b"))))
    results = (Result.DONE, Result.SKIPPED, Result.FAILED, Result.DONE)
    told = report(*decided("delete", seen, delete=ARCHIVE), *results)
    assert "4 actions: 2 done, 1 skipped, 1 failed." in told.markdown
    assert told.verdict == "deleted etl; with it 2 actions: 1 skipped, 1 failed (Ann: upgrade)"


def test_what_still_runs_is_named_with_a_link_and_since_when() -> None:
    seen = SeenPool(pool(), active=(run(),))
    told = report(*decided("drain", seen), Result.DONE, Result.FAILED, detail="late", still={"etl": [run()]})
    assert "| [brave-owl](../../runs/flow-run/id-brave-owl) | Running | 2026-03-29 11:59:00 |" in told.markdown


def pages(name: str, other: str, by: str, why: str) -> str:
    """The pages of a refused delete and of a resume with a backlog, in which all of these stand."""
    there = Dependents((deployment(other, id="1"),), workers=(worker(other),), automations={"7": other})
    going = decided("delete", SeenPool(pool(name), dependents=there), by=by, reason=why)
    late = SeenPool(pool(name, is_paused=True), waiting=(waiting(other, id="2"),))
    return report(*going).markdown + report(*decided("resume", late, by=by, reason=why, backlog="drop")).markdown


@given(names, names, st.sampled_from(HOSTILE), names)
def test_no_name_can_inject(name: str, other: str, why: str, by: str) -> None:
    page = pages(name, other, by, why)
    assert page.count("\n") == pages("a", "b", "c", "d").count("\n")
    assert not re.search(r"(?<!\\)(<img|\]\(javascript|!\[x)", page)

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.approval import digest
from flows.policy.cleanup.caps import BEYOND, Caps
from flows.policy.cleanup.decision import Decision
from flows.policy.cleanup.kinds import KINDS, CleanupKind, Found
from flows.policy.cleanup.pace import Pace
from flows.policy.plan import Kind, Outcome, Result, Target, Verb, Verdict
from flows.report.cleanup import CHANGES, MEANS, SHOWN, SHOWN_AT_THE_FORM, Cleanup, cleanup_report, plan_page
from flows.report.page import Report
from tests.builders import NOW
from tests.cleanup import decide, numbered, of_rule, scope
from tests.report.test_inventory_report import holds_no_html, is_whole, tables
from tests.report.test_markdown import TURNS_DIRECTION
from tests.strategies import names

COLUMNS = ["kind", "target", "id", "verb", "reason", "outcome", "rule"]
ENDS = ("done", "skipped", "failed", "refused", "left")
DRY = "Nothing was changed: this was a dry run"
INJECTIONS = (
    "a|b",
    "`a` ``",
    "<script>alert(1)</script>",
    "a\n\n# Heading\n| x |",
    "a\r\n- item",
    "\u202egnp.exe\u2066",
    "[click](javascript:alert(1))",
    "![x](https://example.com/x.png)",
    "](../../x) [y](z",
)
LEFT = "left: the budget of 1 h is used up"


def job(decision: Decision, **changed: Any) -> Cleanup:
    return replace(Cleanup(scope(), decision, Pace(), dry_run=False, key="pool-cleanup"), **changed)


def planned(decision: Decision) -> list[Outcome]:
    return [Outcome(action, Result.PLANNED) for action in decision.plan.actions]


def all_are(decision: Decision, result: Result, detail: str = "", *, is_left: bool = False) -> list[Outcome]:
    return [Outcome(action, result, detail, is_left) for action in decision.plan.actions]


def dry(decision: Decision, **changed: Any) -> Report:
    return cleanup_report(job(decision, dry_run=True, **changed), planned(decision))


def carried_out(decision: Decision, result: Result = Result.DONE, detail: str = "", **changed: Any) -> Report:
    return cleanup_report(job(decision, **changed), all_are(decision, result, detail))


def shown(page: Report) -> str:
    """The page as a reader sees it, without its escapes."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", page.markdown)


def section(page: str, heading: str) -> str:
    return page.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def balance(page: str) -> dict[str, dict[str, int]]:
    """The table of what became of each kind, as numbers."""
    heading, _, *rows = tables(page)[0]
    columns = [cell.strip().lower() for cell in heading.strip("|").split("|")]
    found = {}
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        its = dict(zip(columns, cells, strict=True))
        kind = its.pop("kind").strip("`")
        found[kind] = {name: int(cell.replace(",", "")) for name, cell in its.items()}
    return found


TWO = decide({"finished-runs": numbered("finished-runs", 2)})
MIXED = decide(
    {
        "finished-runs": Found(
            numbered("finished-runs", 1200), {"ended too recently": 3000, "their tag protects them": 2}
        ),
        "stuck-runs": [*numbered("stuck-runs", 2, Verb.CRASH, start=5000), of_rule("stuck-runs", "alive", Verb.LEAVE)],
    }
)

results = st.sampled_from([Result.DONE, Result.SKIPPED, Result.FAILED, Result.REFUSED])


def _verbs(kind: CleanupKind) -> st.SearchStrategy[Verb]:
    changes = [Verb.CHANGE] if kind in CHANGES else []
    return st.sampled_from([Verb.LEAVE, Verb.DELETE, Verb.CANCEL, Verb.CRASH, *changes])


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    """What some kinds found, with hostile names, more of it than may go at once."""
    found = {}
    for number, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), unique=True, max_size=4))):
        seen = draw(st.lists(st.tuples(names, st.sampled_from(Kind), _verbs(kind), names), max_size=4))
        verdicts = tuple(
            replace(of_rule(kind, verb=verb, reason=reason), target=Target(its, name, f"{number}-{position}"))
            for position, (name, its, verb, reason) in enumerate(seen)
        )
        found[kind] = Found(verdicts, draw(st.dictionaries(names, st.integers(1, 2000), max_size=2)))
    return decide(found, caps=Caps.model_validate({kind.replace("-", "_"): 3 for kind in KINDS}))


@st.composite
def outcomes_of(draw: st.DrawFn, decision: Decision) -> list[Outcome]:
    def one(action: Verdict) -> Outcome:
        result = draw(results)
        return Outcome(action, result, draw(names), is_left=result is Result.SKIPPED and draw(st.booleans()))

    return [one(action) for action in decision.plan.actions]


@given(decisions(), st.data())
def test_of_each_kind_all_that_was_planned_was_done_skipped_failed_refused_or_left(
    decision: Decision, data: st.DataObject
) -> None:
    outcomes = data.draw(outcomes_of(decision))
    told = balance(cleanup_report(job(decision), outcomes).markdown)
    assert list(told) == list(decision.found)
    for kind, found in decision.found.items():
        numbers = told[kind]
        actions = [outcome for outcome in outcomes if outcome.verdict in found.verdicts]
        assert numbers["found"] - numbers["kept"] == sum(numbers.get(end, 0) for end in ENDS) == len(actions)
        assert numbers["found"] == len(found.verdicts) + sum(found.left.values())
        assert numbers.get("left", 0) == sum(outcome.is_left for outcome in actions)
        assert numbers.get("done", 0) == sum(outcome.result is Result.DONE for outcome in actions)


@given(decisions())
def test_before_anything_is_done_all_that_goes_is_planned(decision: Decision) -> None:
    for numbers in balance(dry(decision).markdown).values():
        assert numbers["found"] - numbers["kept"] == numbers.get("planned", 0)


@given(decisions(), st.data())
def test_every_verdict_is_a_row_with_the_columns_of_an_acting_job_and_its_rule(
    decision: Decision, data: st.DataObject
) -> None:
    outcomes = data.draw(outcomes_of(decision))
    page = cleanup_report(job(decision), outcomes)
    assert len(page.rows) == len(decision.plan.verdicts)
    became = {id(outcome.verdict): outcome.result.value for outcome in outcomes}
    for row, verdict in zip(page.rows, decision.plan.verdicts, strict=True):
        assert list(row) == COLUMNS
        assert (row["kind"], row["target"], row["id"]) == (
            verdict.target.kind.value,
            verdict.target.name,
            verdict.target.id,
        )
        assert (row["verb"], row["rule"]) == (verdict.verb.value, verdict.numbers["cleanup"])
        assert row["outcome"] == ("" if verdict.verb is Verb.LEAVE else became[id(verdict)])
        assert str(row["reason"]).startswith(verdict.reason)


OWN_HEADINGS = frozenset({"## Kept, and why", "## What it saved", *(f"## {words}" for words in MEANS.values())})


def is_harmless(page: Report, own: frozenset[str] = OWN_HEADINGS) -> bool:
    """Whether no name, reason or detail has become a row, a tag, a heading, a picture or an address."""
    text = re.sub(r"\\[!-/:-@\[-`{-~]", "", page.markdown)
    headings = {line for line in page.markdown.split("\n") if line.startswith("#")}
    targets = re.findall(r"\]\(([^)]*)\)", text)
    return (
        is_whole(page)
        and holds_no_html(page)
        and headings <= own
        and "![" not in text
        and all(target.startswith("../../") for target in targets)
        and not set(page.markdown + page.verdict) & set(TURNS_DIRECTION)
        and "\n" not in page.verdict
        and "\r" not in page.markdown
    )


@given(decisions(), st.data())
def test_no_name_reason_or_detail_breaks_the_page(decision: Decision, data: st.DataObject) -> None:
    died, answer = tuple(data.draw(st.lists(names, max_size=2))), data.draw(names)
    assert is_harmless(cleanup_report(job(decision, died=died, answer=answer), data.draw(outcomes_of(decision))))
    assert is_harmless(dry(decision, died=died))


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("kind", Kind)
def test_no_name_of_anything_injects_into_the_report_or_into_the_form(name: str, kind: Kind) -> None:
    verdicts = [
        replace(of_rule("late-runs", verb=verb, reason=name), target=Target(kind, name, f"id-{verb}", name))
        for verb in (Verb.CANCEL, Verb.LEAVE)
    ]
    decision = decide({"late-runs": Found(tuple(verdicts), {name: 3})})
    for page in (dry(decision, died=(name,)), carried_out(decision, Result.FAILED, name, answer=name)):
        assert is_harmless(page)
        assert [row["target"] for row in page.rows] == [name, name]
    assert is_harmless(Report("", plan_page(job(decision))))


@pytest.mark.parametrize("name", INJECTIONS)
def test_no_name_that_was_asked_for_injects_where_nothing_is_selected(name: str) -> None:
    page = cleanup_report(job(decide({}), scope=scope([f"{name}*"])), [])
    assert is_harmless(page)
    assert "Nothing was looked at, nothing was changed." in shown(page)


def test_the_verdict_of_a_dry_run_says_what_would_go_and_which_plan_that_is() -> None:
    page = dry(MIXED)
    crash, delete = "crash 2 stuck runs", "delete 1,200 finished runs"
    assert page.verdict == f"Dry run: {crash}, {delete}; plan {digest(MIXED.plan)}"
    assert shown(page).startswith(f"**{page.verdict}**\n")


def test_the_plan_that_is_shown_before_it_is_carried_out_is_no_dry_run() -> None:
    page = cleanup_report(job(TWO), planned(TWO))
    assert page.verdict == f"Delete 2 finished runs; plan {digest(TWO.plan)}"
    assert DRY not in page.markdown


def test_the_verdict_says_what_became_of_the_actions() -> None:
    outcomes = [
        *all_are(MIXED, Result.DONE)[:1000],
        *all_are(MIXED, Result.SKIPPED, "it changed meanwhile")[1000:1003],
        *all_are(MIXED, Result.FAILED, "503")[1003:1005],
        *all_are(MIXED, Result.SKIPPED, LEFT, is_left=True)[1005:],
    ]
    assert cleanup_report(job(MIXED), outcomes).verdict.replace(",", "") == (
        "1000 of 1202 actions done; 2 failed; 3 skipped; 197 left for the next run (crash 2 stuck runs delete 998 "
        "finished runs)"
    )


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (Result.DONE, "2 of 2 actions done (delete 2 finished runs)"),
        (Result.FAILED, "0 of 2 actions done; 2 failed"),
        (Result.SKIPPED, "0 of 2 actions done; 2 skipped"),
        (Result.REFUSED, "0 of 2 actions done; 2 refused"),
    ],
)
def test_the_verdict_is_never_better_than_what_became_of_the_actions(result: Result, verdict: str) -> None:
    assert carried_out(TWO, result).verdict == verdict


def test_nothing_to_clear_away_is_said_with_what_was_looked_at() -> None:
    nothing = decide({"finished-runs": Found(left={"ended too recently": 7})})
    assert dry(nothing).verdict == "Dry run: nothing to clear away (7 things looked at)"
    assert carried_out(nothing).verdict == "Nothing to clear away (7 things looked at)"
    assert carried_out(decide({})).verdict == "Nothing to clear away (0 things looked at)"
    assert DRY not in dry(nothing).markdown


def test_an_empty_selection_says_why_and_that_nothing_happened() -> None:
    page = cleanup_report(job(decide({}), scope=scope([])), [])
    assert page.verdict.startswith("Parameter 'pools' is an empty list")
    assert page.rows == ()
    assert "Nothing was looked at, nothing was changed." in page.markdown
    assert "|" not in page.markdown


def test_a_dry_run_says_what_to_do_to_have_it_carried_out() -> None:
    told = shown(dry(TWO))
    assert DRY in told
    assert "run the deployment with `dry_run` off" in told
    assert "`approval` set to `ask`" in told
    assert DRY not in carried_out(TWO).markdown


@pytest.mark.parametrize("show", [dry, carried_out])
def test_the_page_says_which_plan_it_was_and_when_that_was_made(show: Callable[[Decision], Report]) -> None:
    assert f"Plan `{digest(TWO.plan)}`, made 2026-03-29 12:00:00 UTC" in show(TWO).markdown


def test_the_page_says_how_long_runs_are_kept_and_where_every_row_is() -> None:
    page = carried_out(TWO, scope=scope(finished_days=7, keep_last=3), key="pool-cleanup-etl")
    assert "kept for 7 d, the last 3 of each deployment for good" in page.markdown
    assert "[table](../../artifacts/key/pool-cleanup-etl-table)" in page.markdown


def test_a_run_that_died_is_told_at_the_top() -> None:
    page = carried_out(TWO, died=("An earlier run died after 50 of 80 actions.", "Another one died."))
    head = shown(page).partition("|")[0]
    assert "> An earlier run died after 50 of 80 actions." in head
    assert "> Another one died." in head
    assert "died" in shown(cleanup_report(job(decide({}), died=("An earlier run died.",)), []))


def test_what_a_person_answered_is_told_at_the_top() -> None:
    page = carried_out(TWO, Result.REFUSED, answer="Plan 0123abcd was refused: not before Monday")
    assert "> Plan 0123abcd was refused: not before Monday" in shown(page).partition("|")[0]


@pytest.mark.parametrize(("rule", "verb"), [("orphaned-deployments", "attach"), ("idle-pools", "mark")])
def test_a_change_is_called_by_what_it_does(rule: CleanupKind, verb: str) -> None:
    page = carried_out(decide({rule: numbered(rule, 1, Verb.CHANGE)}))
    named = rule.replace("-", " ").removesuffix("s")
    assert page.verdict == f"1 of 1 action done ({verb} 1 {named})"
    assert f"- done: {verb} " in page.markdown
    assert [row["verb"] for row in page.rows] == ["change"]


def test_what_is_kept_is_counted_by_reason_the_most_first_and_named_where_it_was_looked_at_one_by_one() -> None:
    kept = section(shown(carried_out(MIXED)), "Kept, and why")
    assert "**`finished-runs`**\n\n- 3,000: ended too recently\n- 2: their tag protects them" in kept
    assert "**`stuck-runs`**\n\n- [alive](../../runs/flow-run/id-alive): Completed 100 d ago" in kept


def test_what_a_cap_leaves_is_told_among_what_is_kept() -> None:
    decision = decide({"finished-runs": numbered("finished-runs", 5)}, caps=Caps(finished_runs=0))
    page = dry(decision)
    assert page.verdict == "Dry run: nothing to clear away (5 things looked at)"
    assert f"- 5: {BEYOND}" in section(shown(page), "Kept, and why")


def test_the_page_shows_some_of_thousands_and_the_rows_all_of_them() -> None:
    page = carried_out(MIXED)
    acted = section(page.markdown, MEANS["finished-runs"])
    assert acted.count("\n- done: delete") == SHOWN
    assert "… and 1180 more." in acted
    assert len(page.rows) == 1203


def test_the_page_of_the_largest_cleanup_is_small() -> None:
    assert len(dry(decide({"finished-runs": numbered("finished-runs", 10_000)})).markdown) < 20_000


def test_those_kept_by_name_are_cut_like_the_others() -> None:
    decision = decide({"late-runs": numbered("late-runs", SHOWN + 5, Verb.LEAVE)})
    kept = section(carried_out(decision).markdown, "Kept, and why")
    assert kept.count("\n- [run-") == SHOWN
    assert "… and 5 more." in kept


def test_what_did_not_go_well_is_shown_first_with_its_detail() -> None:
    decision = decide({"finished-runs": numbered("finished-runs", 30)})
    outcomes = all_are(decision, Result.DONE)
    outcomes[29] = Outcome(outcomes[29].verdict, Result.FAILED, "the server answered 503")
    acted = section(shown(cleanup_report(job(decision), outcomes)), MEANS["finished-runs"])
    first = acted.strip().split("\n")[0]
    link = "[run-29](../../runs/flow-run/id-run-29)"
    assert first == f"- failed: delete {link}: Completed 100 d ago (the server answered 503)"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_row_that_says_what_it_means(kind: CleanupKind) -> None:
    page = dry(decide({kind: numbered(kind, 1)}))
    assert balance(page.markdown) == {kind: {"found": 1, "kept": 0, "planned": 1}}
    assert f"## {MEANS[kind]}" in page.markdown


def test_a_kind_of_which_nothing_was_found_is_in_the_table_and_nowhere_else() -> None:
    page = dry(decide({"late-runs": [], "finished-runs": numbered("finished-runs", 1)}))
    assert balance(page.markdown)["late-runs"] == {"found": 0, "kept": 0, "planned": 0}
    assert f"## {MEANS['late-runs']}" not in page.markdown


SAVED: Mapping[CleanupKind, str] = {
    "finished-runs": "2 runs with 7 task runs, their states and their logs are out of the database",
    "stuck-runs": "2 slots of work pools free again",
    "late-runs": "2 runs will not start all at once, or wait for ever",
    "orphaned-runs": "2 runs will not start all at once, or wait for ever",
    "orphaned-deployments": "2 deployments run again",
    "offline-workers": "2 rows fewer to look through",
    "empty-queues": "2 rows fewer to look through",
    "idle-pools": "2 rows fewer to look through",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_says_what_it_saved_and_what_was_not_done_saved_nothing(kind: CleanupKind) -> None:
    decision = decide({kind: numbered(kind, 2)})
    assert SAVED[kind] in section(carried_out(decision, task_runs=7).markdown, "What it saved")
    for result in (Result.SKIPPED, Result.FAILED, Result.REFUSED, Result.PLANNED):
        assert "What it saved" not in carried_out(decision, result).markdown


def test_a_row_says_in_its_reason_why_it_came_otherwise() -> None:
    page = carried_out(decide({"finished-runs": numbered("finished-runs", 1)}), Result.SKIPPED, "it changed meanwhile")
    assert [(row["outcome"], row["reason"]) for row in page.rows] == [
        ("skipped", "Completed 100 d ago (it changed meanwhile)")
    ]


def test_what_was_left_for_the_next_run_is_skipped_in_its_row_and_left_in_the_balance_and_counted_with_why() -> None:
    page = cleanup_report(job(TWO), all_are(TWO, Result.SKIPPED, LEFT, is_left=True))
    assert section(shown(page), MEANS["finished-runs"]).strip().split("\n")[0] == f"- 2 {LEFT}"
    assert {row["outcome"] for row in page.rows} == {"skipped"}
    assert balance(page.markdown) == {"finished-runs": {"found": 2, "kept": 0, "left": 2}}


def links(kind: Kind) -> str:
    decision = decide({"idle-pools": [of_rule("idle-pools", "etl", kind=kind)]})
    return section(carried_out(decision).markdown, MEANS["idle-pools"])


def test_what_has_a_page_of_its_own_is_a_link_to_it() -> None:
    assert "[etl](../../work-pools/work-pool/etl)" in links(Kind.POOL)
    assert "[etl](../../runs/flow-run/id-etl)" in links(Kind.RUN)
    assert "[etl](../../deployments/deployment/id-etl)" in links(Kind.DEPLOYMENT)
    assert "](" not in links(Kind.WORKER) + links(Kind.QUEUE)


def test_the_form_shows_the_plan_its_number_how_long_it_is_good_for_and_where_all_of_it_is() -> None:
    page = plan_page(job(MIXED, pace=Pace(plan_hours=2)))
    assert f"Plan `{digest(MIXED.plan)}`, made {NOW:%Y-%m-%d %H:%M:%S} UTC, good for 2 h." in page
    assert re.sub(r"\\(.)", r"\1", page).startswith("**Crash 2 stuck runs, delete 1,200 finished runs.** Plan")
    assert "[table](../../artifacts/key/pool-cleanup-table)" in page
    assert page.count("\n- planned: delete") == SHOWN_AT_THE_FORM
    assert f"… and {1200 - SHOWN_AT_THE_FORM} more." in page


def in_order(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(row["rule"]) for row in rows]


def test_the_rows_are_in_the_order_of_the_plan() -> None:
    found: Mapping[CleanupKind, Sequence[Verdict]] = {
        "finished-runs": numbered("finished-runs", 1),
        "stuck-runs": numbered("stuck-runs", 1, start=1),
    }
    assert in_order(dry(decide(found)).rows) == ["stuck-runs", "finished-runs"]

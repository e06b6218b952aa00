"""What people read of pool-reconcile: the verdict first, then what differs, side by side."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.policy.plan import Outcome, Result
from flows.policy.pool_spec import PoolSpec, TemplateSpec
from flows.policy.protection import Protection
from flows.policy.reconcile.decision import decide_reconcile
from flows.policy.reconcile.export import export_pools
from flows.policy.reconcile.facts import ReconcileFacts
from flows.report.export import export_header, export_report
from flows.report.page import Report
from flows.report.reconcile import Reconcile, reconcile_report
from flows.spec_file import written_spec
from tests.report.test_cleanup_report import INJECTIONS, is_harmless
from tests.specs import DEFAULT, OTHER, PATH, any_facts, facts, spec, there
from tests.strategies import HOSTILE


def report(observed: ReconcileFacts, results: Sequence[Result] | None = None, *, dry_run: bool = True) -> Report:
    decision = decide_reconcile(observed)
    actions = decision.plan.actions
    became = [Result.PLANNED] * len(actions) if results is None else results
    outcomes = [
        Outcome(action, result, "why" if result in (Result.SKIPPED, Result.FAILED) else "")
        for action, result in zip(actions, became, strict=True)
    ]
    return reconcile_report(Reconcile(PATH, len(observed.spec.pools), decision, dry_run, "pool-reconcile"), outcomes)


HEADINGS = frozenset(
    {
        "## What differs",
        "## What was not done",
        "## Left as it is",
        "## Templates behind their worker type",
    }
)
DRIFTED = facts(
    spec({"name": "etl", "concurrency_limit": 5, "description": "new"}, {"name": "gpu"}, {"name": "same"}),
    there(concurrency_limit=3, description="old"),
    there("same"),
    there("theirs"),
)


def test_the_verdict_says_first_that_there_is_drift() -> None:
    made = report(DRIFTED)
    assert made.verdict == (
        "Dry run: 2 of 3 work pools in deployments/pools.yaml drifted: etl, gpu; change 1 work pool, create 1 work pool"
    )
    assert made.markdown.startswith("**Dry run")


def test_where_all_is_as_written_the_verdict_says_so() -> None:
    made = report(facts(spec({"name": "etl"}), there(), there("theirs")), dry_run=False)
    assert made.verdict == "No drift: 1 work pool as in deployments/pools.yaml"
    assert "## What differs" not in made.markdown
    assert "- 1 work pool: unmanaged" in made.markdown


def test_what_differs_stands_side_by_side() -> None:
    page = report(DRIFTED).markdown.replace("\\", "")
    assert "| concurrency limit | 3 | 5 | planned |" in page
    assert "| description | 'old' | 'new' | planned |" in page
    assert "| [gpu](../../work-pools/work-pool/gpu) | create | type | – | 'process' | planned |" in page


def test_what_was_done_and_what_was_not_add_up() -> None:
    made = report(DRIFTED, [Result.DONE, Result.FAILED], dry_run=False)
    assert made.verdict == "2 actions: 1 done, 1 failed (change 1 work pool)"
    assert "- failed: create [gpu](../../work-pools/work-pool/gpu): why" in made.markdown


@given(any_facts(min_size=1), st.data())
def test_every_verdict_is_a_row_and_planned_is_what_was_done_skipped_and_failed(
    observed: ReconcileFacts, data: st.DataObject
) -> None:
    actions = decide_reconcile(observed).plan.actions
    ends = st.sampled_from([Result.DONE, Result.SKIPPED, Result.FAILED])
    results = data.draw(st.lists(ends, min_size=len(actions), max_size=len(actions)))
    made = report(observed, results, dry_run=False)
    assert len(made.rows) == len(decide_reconcile(observed).plan.verdicts)
    assert sum(row["outcome"] != "" for row in made.rows) == len(actions)
    assert "\n" not in made.verdict


@pytest.mark.parametrize("text", [*INJECTIONS, *HOSTILE])
def test_no_name_description_or_key_can_inject_into_the_page(text: str) -> None:
    """Prefect takes fewer characters in names than are tried here."""
    pool = spec({"name": "x", "description": text, "queues": [{"name": "x"}]}).pools[0]
    queue = pool.queues[0].model_copy(update={"name": text})
    template = {"inline": {**OTHER, text: 1}}
    named = PoolSpec.model_construct(
        **{**dict(pool), "name": text, "queues": [queue], "base_job_template": TemplateSpec.model_validate(template)},
        _fields_set={"description", "queues", "base_job_template"},
    )
    wanted = spec().model_copy(update={"pools": [named]})
    for observed in (facts(wanted, there(text, description="old"), there()), facts(wanted, there(f"{text} other"))):
        for made in (report(observed), report(replace(observed, path=text), [Result.SKIPPED] * 2, dry_run=False)):
            assert is_harmless(made, HEADINGS)


def test_values_of_templates_never_reach_the_page_or_the_table() -> None:
    secret = {**OTHER, "job_configuration": {"env": "{{ env }}", "DB_PASSWORD": "hunter2"}}
    wanted = spec(
        {"name": "etl", "base_job_template": {"inline": secret}}, {"name": "n", "base_job_template": {"inline": secret}}
    )
    made = report(facts(wanted, there()))
    assert "hunter2" not in made.markdown + str(made.rows) + made.verdict
    assert "job_configuration.DB_PASSWORD" in str(made.rows)


@pytest.mark.parametrize("text", [*HOSTILE, "```\n# out\n````\n", "~~~\n# out"])
def test_nothing_in_an_export_can_end_its_block(text: str) -> None:
    export = export_pools({"etl": there(description=text)}, {"process": (DEFAULT,)}, Protection())
    written = written_spec(export.document, export_header(export))
    page = export_report(export, written, 1).markdown
    fence = page.partition("yaml\n")[0].rpartition("\n")[2]
    assert page.count(f"\n{fence}") == 2
    assert page.endswith(f"\n{fence}\n")


@pytest.mark.parametrize("written", ["```\n# out", "a\n````\n# out\n`````"])
def test_a_block_ends_where_the_export_ends_whatever_is_written(written: str) -> None:
    export = export_pools({"etl": there()}, {}, Protection())
    page = export_report(export, written, 1).markdown
    fence = page.partition("yaml\n")[0].rpartition("\n")[2]
    assert [line for line in page.splitlines() if line.startswith(fence)] == [f"{fence}yaml", fence]


def test_an_export_says_what_is_left_out_of_it() -> None:
    secret = {**DEFAULT, "job_configuration": {"env": {"DB_PASSWORD": "hunter2"}}}
    pools = {"etl": there(template=secret), "management": there("management")}
    export = export_pools(pools, {}, Protection(pools=frozenset({"management"})))
    made = export_report(export, written_spec(export.document, export_header(export)), 0)
    assert made.verdict == "Exported 1 work pool, 1 secret left out. Nothing was changed."
    assert "Left out, as no spec may hold them: management." in made.markdown
    assert "Only the first 0 of 1 work pools are here" in made.markdown
    assert "hunter2" not in made.markdown + str(made.rows)
    assert "# 1 secret left out and marked." in made.markdown

"""The plan of a cleanup before a person, who answers at a form."""

from typing import Any

import pytest

from tests.browser.site import Site
from tests.browser.ui import Ui
from tests.server.cleaning import Attic

pytestmark = pytest.mark.browser
RUNS = 6
WHY = "Ann: the audit is over"


@pytest.fixture
def attic(site: Site) -> Attic:
    return site.attic(RUNS)


def waiting(ui: Ui, site: Site, attic: Attic) -> str:
    """A cleanup that a person started at its form, and that waits for its answer."""
    ui.open_form(site.deployment("pool-cleanup"))
    keep_none = {"Keep the last": 0, "Keep the latest failure": False}
    ui.fill({"pools": [attic.pool], "kinds": ["finished-runs"], **keep_none, "approval": "ask", "dry_run": False})
    run = site.until(ui.submit(), "PAUSED")
    assert run["state_type"] == "PAUSED", run["state"]["message"]
    return str(run["id"])


def answer(ui: Ui, site: Site, run_id: str, values: dict[str, Any]) -> tuple[str, str]:
    """The form with the plan, filled in. What became of the run, in words."""
    dialog = ui.open_answer(run_id, f"Delete {RUNS} finished runs")
    assert dialog.get_by_text("Completed 40 d ago").count() == 3
    ui.fill(values)
    dialog.get_by_role("button", name="Resume" if ui.is_newer else "Submit").click()
    dialog.wait_for(state="hidden")
    run = site.until(run_id)
    return run["state"]["name"], run["state"]["message"]


def test_only_as_many_as_a_person_approves_are_deleted(ui: Ui, site: Site, attic: Attic) -> None:
    run_id = waiting(ui, site, attic)
    assert attic.count() == RUNS
    state, verdict = answer(ui, site, run_id, {"Decision": "approve", "Why, and who": WHY, "At most": 2})
    assert state == "Completed"
    assert verdict.startswith("2 of 6 actions done; 4 left for the next run")
    assert attic.count() == RUNS - 2
    assert sorted(row["outcome"] for row in attic.rows() if row["verb"] == "delete") == ["done"] * 2 + ["skipped"] * 4
    key = f"pool-cleanup-{attic.pool}"
    ui.open_artifact(run_id, key, site.artifacts(run_id)[key])
    ui.report.get_by_text(f"was approved for the first 2 of {RUNS} actions: {WHY}").wait_for()


def test_a_plan_that_a_person_refuses_changes_nothing(ui: Ui, site: Site, attic: Attic) -> None:
    run_id = waiting(ui, site, attic)
    state, verdict = answer(ui, site, run_id, {"Decision": "refuse", "Why, and who": WHY})
    assert (state, verdict[-len(WHY) :]) == ("Refused", WHY)
    assert attic.count() == RUNS
    key = f"pool-cleanup-{attic.pool}"
    ui.open_artifact(run_id, key, site.artifacts(run_id)[key])
    ui.report.get_by_text(f"was refused: {WHY}").first.wait_for()

"""Each flow as a person runs it: the deployment's page, the form, the run, the report."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.site import Site
from tests.browser.ui import Ui
from tests.rest import Row, unique

pytestmark = pytest.mark.browser
Values = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A flow, what there is for it to see, what a person enters at its form, and what its report then says."""

    flow: str
    prepare: Callable[[Site, Path], tuple[str, Values]]
    says: str
    pictures: int
    leads_to: str = "work-pools/work-pool"


def inventory(site: Site, _: Path) -> tuple[str, Values]:
    pool = unique("watched")
    site.rest.pool(pool)
    return pool, {"pools": [f"{pool}*", "management"], "exclude": ["demo-*"], "window_hours": 48}


def preview(site: Site, _: Path) -> tuple[str, Values]:
    pool = site.scheduled()
    return pool, {"pools": [pool], "hours": 3, "timezone": "Europe/Berlin", "what_if_limit": 1, "calendar": True}


def auto_pause(site: Site, _: Path) -> tuple[str, Values]:
    pool = site.failing(4)
    return pool, {"pools": [pool], "Minimum runs": 3, "Cooldown (minutes)": 45, "Backlog": "latest", "dry_run": False}


def cleanup(site: Site, _: Path) -> tuple[str, Values]:
    pool = site.attic(6).pool
    kinds = ["finished-runs", "late-runs"]
    return pool, {"pools": [pool], "kinds": kinds, "Finished runs (days)": 20, "Keep the last": 2}


def lifecycle(site: Site, _: Path) -> tuple[str, Values]:
    pool = unique("upgraded")
    site.rest.pool(pool)
    why = {"reason": "database upgrade", "actor": "Ann"}
    return pool, {"action": "pause", "pool": pool, **why, "expires_minutes": 90.0, "Most work pools": 2}


def reconcile(_: Site, folder: Path) -> tuple[str, Values]:
    pool, spec = unique("declared"), folder / "pools.yaml"
    spec.write_text(f"version: 1\npools: [{{name: {pool}, type: process, concurrency_limit: 3}}]\n")
    return pool, {"spec": str(spec), "Most actions": 4, "dry_run": False}


CASES = (
    Case("pool-inventory", inventory, "no-online-worker", pictures=1),
    Case("pool-preview", preview, "blocked", pictures=2),
    Case("pool-auto-pause", auto_pause, "paused", pictures=1),
    Case("pool-cleanup", cleanup, "delete 4 finished runs", pictures=1, leads_to="runs/flow-run"),
    Case("pool-lifecycle", lifecycle, "paused", pictures=0),
    Case("pool-reconcile", reconcile, "create 1 work pool", pictures=0),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.flow))
def test_is_run_from_its_form_and_its_report_is_read(ui: Ui, site: Site, tmp_path: Path, case: Case) -> None:
    pool, values = case.prepare(site, tmp_path)
    ui.open_form(site.deployment(case.flow))
    ui.fill(values)
    run = site.until(ui.submit())
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    entered = list(flat(run["parameters"]))
    assert [value for value in values.values() if value not in entered] == []

    made = site.artifacts(run["id"])
    key = next(key for key in (f"{case.flow}-{pool}", case.flow) if key in made)
    ui.open_artifact(run["id"], key, made[key])
    sees_a_report(ui, run, case)
    ui.follow(case.leads_to).wait_for_url(f"{ui.root}/{case.leads_to}/*")

    table = f"{key}-table"
    ui.open_artifact(run["id"], table, made[table])
    first = json.loads(site.rest.read(f"/artifacts/{made[table]}")["data"])[0]
    ui.page.locator("td", has_text=first.get("target") or first["pool"]).first.wait_for()


def flat(parameters: Row) -> Iterator[Any]:
    for value in parameters.values():
        yield from value.values() if isinstance(value, dict) else [value]


def sees_a_report(ui: Ui, run: Row, case: Case) -> None:
    """The verdict first; pictures that are there, also for those who cannot see them."""
    verdict = run["state"]["message"]
    assert case.says in verdict
    assert ui.verdict.inner_text() == verdict
    assert ui.read().startswith(verdict)
    ui.report.get_by_role("link", name="Poolkeeper at a glance").wait_for()
    for picture in ui.pictures(case.pictures):
        assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") > 0
        assert len(picture.get_attribute("alt") or "") > 20


@dataclass(frozen=True)
class Bad:
    """A value that no run shall be made with; `told` is a part of what the older UI says to it."""

    flow: str
    label: str
    value: Any
    told: str


BAD = (
    Bad("pool-inventory", "window_hours", 9999, "maximum of 744"),
    Bad("pool-preview", "acceptable_wait_minutes", -1, "minimum of 0"),
    Bad("pool-auto-pause", "Failure rate", 1.5, "maximum of 1"),
    Bad("pool-cleanup", "Grace (days)", 99999999, "maximum of 36500"),
    Bad("pool-lifecycle", "wait_minutes", 2000, "maximum of 1440"),
    Bad("pool-reconcile", "Largest share", 2, "maximum of 1"),
)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad.flow))
def test_a_bad_value_is_refused_at_the_form(ui: Ui, site: Site, bad: Bad) -> None:
    before = site.runs(bad.flow)
    ui.open_form(site.deployment(bad.flow))
    if bad.flow == "pool-lifecycle":
        ui.fill({"action": "drain", "pool": "management", "reason": "none"})
    ui.set(bad.label, bad.value)
    ui.page.get_by_role("button", name="Submit").click()
    if ui.is_newer:
        field = ui.field(bad.label).locator("input").first
        assert field.evaluate("field => field.matches(':invalid') && field.validationMessage")
    else:
        ui.page.locator(".p-toast__message", has_text=bad.told).first.wait_for()
    assert "/run" in ui.page.url
    assert site.runs(bad.flow) == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.flow))
def test_every_field_of_the_form_says_what_it_does(ui: Ui, site: Site, case: Case) -> None:
    deployment = site.deployment(case.flow)
    schema = site.rest.read(f"/deployments/{deployment}")["parameter_openapi_schema"]
    models = [schema, *schema.get("definitions", {}).values()]
    texts = [field["description"] for model in models for field in model["properties"].values()]
    ui.open_form(deployment)
    ui.page.locator("label", has_text="(Optional)").first.wait_for()
    seen = on_one_line(ui.page.locator("form").inner_text())
    assert [each for each in texts if on_one_line(each) not in seen] == []


def on_one_line(text: str) -> str:
    """Without the marks around code, which one of the UIs shows and the other does not."""
    return " ".join(text.replace("`", "").split())

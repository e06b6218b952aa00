"""Names and reasons that are Markdown, HTML or templates are shown as the text that they are."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.browser.site import Site
from tests.browser.ui import Ui
from tests.rest import unique

pytestmark = pytest.mark.browser
STING = "window.stung = 1"
HTML = f'<img src="x" onerror="{STING}"><script>{STING}</script><b id="stung">bold</b>'
# With a new line and a heading, and a mark that turns the direction of what follows.
MARKDOWN = f"**bold** [click](javascript:{STING.replace(' ', '')}) {{{{ 7*7 }}}} \u202e\n\n# heading"
# Prefect accepts no < and > in the name of a work pool.
NAME = "`x` | **bold** [click](javascript:stung) {{ 7*7 }} ![y](x) \u202e"
SHOWN_HTML = '<img src="x" onerror='
SHOWN_NAME = "`x` | **bold** [click](javascript:stung) {{ 7*7 }} ![y](x)"
INJECTED = "img[src='x'], #stung, a[href^='javascript'], h1:text-is('heading'), strong:text-is('bold')"


@dataclass(frozen=True)
class Marked:
    """The runs by flow, and the work pool that all of them were about."""

    pool: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def marked(site: Site) -> Marked:
    """A work pool whose name, description, runs and reasons are all of that kind, and each flow's view of it."""
    rest = site.rest
    pool = f"{unique('pool')} {NAME}"
    rest.pool(pool, description=HTML)
    deployment = rest.deployment(pool, tags=[HTML])
    due = rest.run(deployment)
    attic = site.attic(3)
    old = rest.ask("/flow_runs/filter", work_pools={"name": {"any_": [attic.pool]}})
    for run_id in (due, *(row["id"] for row in old)):
        rest.patch(f"/flow_runs/{run_id}", json={"name": f"{HTML} {MARKDOWN}"}).raise_for_status()
    clearing = {"pools": [attic.pool], "kinds": ["finished-runs"], "retention": {"keep_last": 0}, "approval": "ask"}
    hand = {"action": "pause", "pool": pool, "reason": f"{HTML} {MARKDOWN}"[:300], "actor": HTML[:100]}
    runs = {
        "pool-preview": site.start("pool-preview", pools=[pool]),
        "pool-cleanup": site.start("pool-cleanup", **clearing, dry_run=False),
        "pool-lifecycle": site.start("pool-lifecycle", **hand),
    }
    assert site.until(runs["pool-cleanup"], "PAUSED")["state_type"] == "PAUSED"
    for flow in ("pool-preview", "pool-lifecycle"):
        assert site.until(runs[flow])["state_type"] == "COMPLETED"
    # It also brings the page `poolkeeper` up to date, with what was paused and why.
    runs["pool-inventory"] = site.start("pool-inventory", pools=[pool])
    assert site.until(runs["pool-inventory"])["state_type"] == "COMPLETED"
    return Marked(pool, runs)


def report(flow: str, key: str = "") -> Callable[[Ui, Site, Marked], str]:
    """The text of what a run of the flow has left under a key, its own report if none is named."""

    def shown(ui: Ui, site: Site, marked: Marked) -> str:
        made = site.artifacts(marked.runs[flow])
        own = key or next(each for each in sorted(made) if each.startswith(flow))
        ui.open_artifact(marked.runs[flow], own, made[own])
        return ui.read()

    return shown


def approval(ui: Ui, _: Site, marked: Marked) -> str:
    return ui.open_answer(marked.runs["pool-cleanup"], "Delete 3 finished runs").inner_text()


def work_pool(ui: Ui, _: Site, marked: Marked) -> str:
    """The page of the work pool, which says why it is paused."""
    ui.open_pool(marked.pool)
    ui.page.get_by_text("paused on").first.wait_for()
    return ui.page.locator("body").inner_text()


PLACES = {
    "inventory": (report("pool-inventory"), SHOWN_NAME),
    "preview": (report("pool-preview"), SHOWN_HTML),
    "lifecycle": (report("pool-lifecycle"), SHOWN_HTML),
    "overview": (report("pool-inventory", "poolkeeper"), SHOWN_HTML),
    "approval form": (approval, SHOWN_HTML),
    "work pool": (work_pool, SHOWN_HTML),
}


@pytest.mark.parametrize("place", PLACES)
def test_is_shown_as_text_and_does_nothing(ui: Ui, site: Site, marked: Marked, place: str) -> None:
    shown, text = PLACES[place]
    assert text in shown(ui, site, marked)
    assert ui.page.locator(INJECTED).count() == 0
    assert ui.page.evaluate("window.stung") is None

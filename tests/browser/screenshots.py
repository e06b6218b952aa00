"""The README's pictures, taken of the demo: `python -m tests.browser.screenshots`.

Starts `poolkeeper up --demo` with a home of its own, looks at what it shows, and writes `docs/*.png`.
"""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.chromium import chromium, missing, opened
from tests.browser.site import Site
from tests.browser.ui import Ui
from tests.rest import Rest
from tests.server.test_up import Up, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = Path(__file__).resolve().parents[2] / "docs"
WIDTH = 1200
# What the demo has left behind is only minutes old.
SOON = {"finished_days": 0.0001, "keep_last": 0, "keep_latest_failure": False, "late_hours": 0.2}
CLEARING = {"pools": ["demo-*"], "kinds": ["finished-runs", "late-runs"], "retention": SOON, "approval": "ask"}


class Photographer:
    def __init__(self, browser: "Browser", site: Site) -> None:
        self.browser, self.site = browser, site

    @contextmanager
    def window(self, height: int, scheme: str = "light") -> Iterator[Ui]:
        options: dict[str, Any] = {"viewport": {"width": WIDTH, "height": height}, "color_scheme": scheme}
        with opened(self.browser, self.site.address, "v2", **options) as ui:
            yield ui

    def report(self, key: str, height: int, schemes: tuple[str, ...] = ("light", "dark")) -> None:
        """The newest report under a key."""
        for scheme in schemes:
            with self.window(height, scheme) as ui:
                ui.open(f"/artifacts/artifact/{self.site.rest.latest(key)['id']}")
                ui.verdict.wait_for()
                self.take(ui, key, scheme)

    def form(self, flow: str, height: int) -> None:
        with self.window(height) as ui:
            ui.open_form(self.site.deployment(flow))
            self.take(ui, f"{flow}-form")

    def approval(self, run_id: str, height: int) -> None:
        with self.window(height) as ui:
            ui.open_answer(run_id)
            ui.set("Decision", "approve")
            ui.set("Why, and who", "Ann: seen with the team, none of these is needed")
            self.take(ui, "pool-cleanup-approval")

    def take(self, ui: Ui, name: str, scheme: str = "light") -> None:
        ui.page.wait_for_load_state("networkidle")
        path = DOCS / f"{name}{'-dark' if scheme == 'dark' else ''}.png"
        ui.page.screenshot(path=path, animations="disabled")
        print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1000:.0f} KB")


def take_all(browser: "Browser", site: Site, up: Up) -> None:
    photographer = Photographer(browser, site)
    photographer.report("poolkeeper", 1000)
    photographer.report("pool-inventory", 1000)
    photographer.report("pool-preview", 1250)
    photographer.form("pool-lifecycle", 1000)
    run_id = site.start("pool-cleanup", **CLEARING, dry_run=False)
    assert site.until(run_id, "PAUSED")["state_type"] == "PAUSED"
    photographer.report("pool-cleanup", 1000)
    photographer.approval(run_id, 800)
    up.until_printed("recovered, back at")
    photographer.report("pool-auto-pause-demo-failing", 1000)


def main() -> None:
    if problem := missing():
        raise SystemExit(problem)
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        up = start(Path(home), "--demo")
        try:
            up.until_printed("Up. Stop with Ctrl-C.")
            with Rest(up.url()) as rest:
                take_all(browser, Site(rest, {"PREFECT_API_URL": up.url()}), up)
        finally:
            up.end(signal.SIGINT)


if __name__ == "__main__":
    main()

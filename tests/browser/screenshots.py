"""The README's pictures, taken of the demo: `python -m tests.browser.screenshots`.

Starts `poolkeeper up --demo` with a home of its own, looks at what it shows, and writes `docs/*.png`.
"""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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


PAUSING = {"action": "pause", "pool": "demo-healthy", "reason": "database upgrade", "expires_minutes": 90.0}
ANSWER = {"Decision": "approve", "Why, and who": "Ann: seen with the team, nobody needs them", "At most": 5}


class Photographer:
    def __init__(self, browser: "Browser", site: Site) -> None:
        self.browser, self.site = browser, site

    @contextmanager
    def window(self, name: str, height: int, scheme: str = "light") -> Iterator[Ui]:
        """A window whose picture is taken at the end of the block."""
        size = {"width": WIDTH, "height": height}
        with opened(self.browser, self.site.address, "v2", viewport=size, color_scheme=scheme) as ui:
            yield ui
            ui.page.wait_for_load_state("networkidle")
            path = DOCS / f"{name}.png"
            ui.page.screenshot(path=path, animations="disabled")
            print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1000:.0f} KB")

    def report(self, name: str, key: str, height: int, scheme: str = "light", top: str = "") -> None:
        """The newest report under a key, from a heading on."""
        with self.window(name, height, scheme) as ui:
            ui.open(f"/artifacts/artifact/{self.site.rest.latest(key)['id']}")
            ui.verdict.wait_for()
            if top:
                ui.report.get_by_role("heading", name=top).evaluate("each => each.scrollIntoView()")


def take_all(browser: "Browser", site: Site, up: Up) -> None:
    photographer = Photographer(browser, site)
    photographer.report("poolkeeper", "poolkeeper", 1000)
    photographer.report("poolkeeper-dark", "poolkeeper", 1000, "dark")
    photographer.report("pool-preview", "pool-preview", 1000, top="Next hours")
    with photographer.window("pool-lifecycle-form", 900) as ui:
        ui.open_form(site.deployment("pool-lifecycle"))
        ui.fill(PAUSING)
        ui.page.mouse.wheel(0, -10_000)
    run_id = site.start("pool-cleanup", **CLEARING, dry_run=False)
    assert site.until(run_id, "PAUSED")["state_type"] == "PAUSED"
    with photographer.window("pool-cleanup-approval", 1100) as ui:
        ui.open_answer(run_id, "finished runs")
        ui.fill(ANSWER)
    up.until_printed("recovered, back at")
    photographer.report("pool-auto-pause", "pool-auto-pause-demo-failing", 1000)


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

"""The browser: the one that is installed, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tests.browser.ui import Ui

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
# The server, the worker, the browser and runs share one machine.
SECONDS_TO_APPEAR = 60
# The address of each version of the UI.
VERSIONS = {"v1": "", "v2": "/v2"}


def missing() -> str:
    """What is not there to open a browser with, and how to come by it."""
    if find_spec("playwright") is None:
        return "Playwright is not installed: pip install -e '.[browser]'."
    return "" if CHROMIUM else "There is no program 'chromium': apt-get install chromium."


@contextmanager
def chromium() -> Iterator["Browser"]:
    # Only here, for what imports this module is also read where Playwright is not installed.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    # Chromium's sandbox refuses to work for root.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser: "Browser", address: str, version: str, **options: Any) -> Iterator[Ui]:
    """A window on one version of the UI, as nobody has used it before."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(SECONDS_TO_APPEAR * 1000)
        yield Ui(context.new_page(), f"{address}{VERSIONS[version]}", is_newer=version == "v2")

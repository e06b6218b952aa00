"""A real server with everything deployed and a worker, and a real browser that looks at it."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import VERSIONS, chromium, missing, opened
from tests.browser.site import Site
from tests.browser.ui import Ui
from tests.processes import free_port
from tests.rest import Rest
from tests.server.test_commands import poolkeeper
from tests.servers import prefect_environment, running_server
from tests.workers import working

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Set to `required`, a browser that is missing is an error: so no check is left out unseen.
BROWSER = "POOLKEEPER_BROWSER"


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    if problem := missing():
        if os.environ.get(BROWSER) == "required":
            pytest.fail(f"{problem} {BROWSER} is 'required'.")
        pytest.skip(problem)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def site(
    browser: "Browser",  # noqa: ARG001 - where there is none, no server is started either
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    environment = prefect_environment(tmp_path_factory.mktemp("site"), free_port())
    with running_server(environment) as url:
        done = poolkeeper("deploy", environment)
        assert done.returncode == 0, done.stdout + done.stderr
        with working("management", environment), Rest(url) as rest:
            yield Site(rest, environment)


@pytest.fixture(params=VERSIONS, scope="session")
def window(request: pytest.FixtureRequest, browser: "Browser", site: Site) -> Iterator[Ui]:
    """Each test is about both versions of the UI. What one test has loaded of it, the next need not load again."""
    with opened(browser, site.address, request.param, viewport={"width": 1280, "height": 1600}) as ui:
        yield ui


@pytest.fixture
def ui(window: Ui) -> Iterator[Ui]:
    """A new page, as nobody has used it before."""
    with window.page.context.new_page() as page:
        yield replace(window, page=page)
        page.evaluate("localStorage.clear()")

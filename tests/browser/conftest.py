"""A real browser without a window: Chromium as the distribution packages it, driven by playwright, on loopback only.

The browser belongs to a module of tests. While it is there, playwright's own event loop runs in this thread, so such
a module has no ``async`` tests or fixtures.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.site import Site

#: Git knows nothing of what is in here.
SCREENSHOTS = Path(__file__).resolve().parents[2] / "artifacts" / "screenshots"

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

#: Names outside of this machine are not even looked up.
OPTIONS = ["--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]

#: Milliseconds that a page is waited for on a machine that has much else to do.
PATIENCE = 30_000

NewPage = Callable[..., Page]
Shoot = Callable[[Page, str], Path]


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is not None:
        return found
    if "chromium" in os.environ.get("MAHAVISHNU_TESTS_NEED", "").split():
        pytest.fail("chromium is missing although this run has installed it")
    pytest.skip("chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser that several tests share, each with pages of its own."""
    program = _chromium()
    # The sandbox of Chromium refuses to run as root, as tests in containers do.
    options = [*OPTIONS, "--no-sandbox"] if os.geteuid() == 0 else OPTIONS
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=options, timeout=4 * PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield found
        found.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Return a function that opens a page with a profile of its own; it takes the options of ``new_context``."""
    contexts = []

    def open_page(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """Return an empty page, 1280 by 800."""
    return new_page(viewport={"width": 1280, "height": 800})


@pytest.fixture(scope="session")
def shoot() -> Shoot:
    """Return a function that keeps a picture of the whole page under a name, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def keep(page: Page, name: str) -> Path:
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        return path

    return keep


@pytest.fixture(scope="module")
def web(valkey_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a server without a token; the tests share it and give their pools names of their own."""
    log = tmp_path_factory.mktemp("page") / "server.log"
    found = Site(valkey_server.url, f"page-{secrets.token_hex(4)}", log)
    yield found
    print(log.read_text()[-4000:])
    found.end()


@pytest.fixture
def quiet_page(page: Page, web: Site) -> Iterator[Page]:
    """Return a page that must log no error, and ask nobody but its server."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(web.url) else problems.append(asked.url))
    yield page
    assert [one for one in problems if not one.startswith("data:")] == []

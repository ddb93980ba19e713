"""The page of the server in a real browser: what it shows, live output, the keyboard, and what it never does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import pools
from tests.browser.site import Site

EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"


@pytest.fixture(scope="module")
def site(valkey_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a server without a token; the tests share it and give their pools names of their own."""
    log = tmp_path_factory.mktemp("page") / "server.log"
    found = Site(valkey_server.url, f"page-{secrets.token_hex(4)}", log)
    yield found
    print(log.read_text()[-4000:])
    found.end()


@pytest.fixture
def quiet_page(page: Page, site: Site) -> Iterator[Page]:
    """Return a page that must log no error, and ask nobody but its server."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(site.url) else problems.append(asked.url))
    yield page
    assert [one for one in problems if not one.startswith("data:")] == []


def row(page: Page, name: str) -> Any:
    return page.get_by_role("table", name="Pools").get_by_role("row").filter(has_text=name)


def test_pools_are_shown_as_they_are_and_as_they_become(quiet_page: Page, site: Site) -> None:
    pool = site.world.pool("alpha", workers=4)
    other = site.world.pool("beta", workers=1, status=PoolStatus.DEGRADED)
    site.world.run(pools.change_pool(other, reason="claude is missing on node1"))
    site.node("node1", **{pool: 4})
    first = site.running(pool)
    site.world.to(pool, 3)

    quiet_page.goto(site.url)

    expect(row(quiet_page, "alpha")).to_contain_text("running")
    expect(row(quiet_page, "alpha")).to_contain_text("1 of 4")
    expect(row(quiet_page, "beta")).to_contain_text("claude is missing on node1")
    expect(quiet_page.get_by_role("table", name="Nodes")).to_contain_text("eu-west · #linux")
    element = row(quiet_page, "alpha").element_handle()
    site.running(pool)
    site.world.run(pools.change_pool(pool, status=PoolStatus.PAUSED, reason="it was paused"))
    expect(row(quiet_page, "alpha")).to_contain_text("paused")
    expect(row(quiet_page, "alpha")).to_contain_text("2 of 4")
    # What changed is the row that was there before: focus and selection stay.
    assert element.is_visible()
    assert first


def test_the_keyboard_finds_and_opens_a_pool_and_a_task_and_goes_back(quiet_page: Page, site: Site) -> None:
    pool = site.world.pool("gamma-keys", workers=2)
    site.world.pool("delta-keys")
    task = site.running(pool, prompt="Fix the parser")
    done = site.world.finished(pool, 1, prompt="Write the tests")[0]
    quiet_page.goto(site.url)
    expect(row(quiet_page, "gamma-keys")).to_be_visible()

    quiet_page.keyboard.press("/")
    quiet_page.keyboard.type("gamma")
    expect(row(quiet_page, "delta-keys")).to_have_count(0)
    quiet_page.keyboard.press("Enter")
    expect(quiet_page.get_by_role("link", name="gamma-keys").first).to_be_focused()
    quiet_page.keyboard.press("Enter")
    expect(quiet_page.get_by_role("heading", level=1)).to_have_text("gamma-keys")
    expect(quiet_page).to_have_title("Pool gamma-keys – Mahavishnu pools")
    expect(quiet_page.get_by_role("table", name="Running")).to_contain_text("Fix the parser")
    expect(quiet_page.get_by_role("table", name="Ended last")).to_contain_text("Write the tests")
    quiet_page.keyboard.press("j")
    quiet_page.keyboard.press("ArrowDown")
    expect(quiet_page.get_by_role("link", name=done[:13])).to_be_focused()
    quiet_page.keyboard.press("k")
    quiet_page.keyboard.press("Enter")
    expect(quiet_page.get_by_role("heading", level=1)).to_have_text(task)
    quiet_page.keyboard.press("Escape")
    expect(quiet_page.get_by_role("heading", level=1)).to_have_text("gamma-keys")
    quiet_page.keyboard.press("Escape")
    expect(row(quiet_page, "delta-keys")).to_be_visible()
    quiet_page.keyboard.press("?")
    expect(quiet_page.get_by_role("dialog", name="Keyboard")).to_be_visible()


def test_output_comes_live_with_its_colours_and_is_never_run(quiet_page: Page, site: Site) -> None:
    task = site.running(site.world.pool("epsilon"), prompt=EVIL)
    site.prints(task, f"plain \x1b[1;31mred\x1b[0m {EVIL}\n\x1b]0;title\x07after\n")
    quiet_page.goto(f"{site.url}/#/task/{task}")
    log = quiet_page.get_by_role("log")

    expect(log).to_contain_text(f"plain red {EVIL}")
    expect(log.locator("span.f1.b")).to_have_text("red")
    site.prints(task, "10 %\r20 %\r99 %")
    site.prints(task, " done\n")
    site.prints(task, "a warning\n", stream="stderr")
    expect(log.locator("div").nth(2)).to_have_text("99 % done")
    expect(log.locator("div.stderr")).to_have_text("a warning")
    assert log.inner_text().splitlines()[1] == "after"
    assert quiet_page.evaluate("window.hacked") is None
    expect(quiet_page.get_by_text("mahavishnu pools cancel")).to_be_visible()


def test_an_outcome_is_shown_when_it_comes_with_its_error(quiet_page: Page, site: Site) -> None:
    pool = site.world.pool("zeta")
    task = site.world.to(pool)[0]
    lease = site.world.lease(pool)
    (claim,) = site.world.claim(lease, pool)
    quiet_page.goto(f"{site.url}/#/task/{task}")
    expect(quiet_page.locator("h1 + .pill")).to_have_text("running")

    site.world.run(site.world.finish_call(site.world.held(lease, pool, claim), status="failed", output="what it said"))

    expect(quiet_page.locator("h1 + .pill")).to_have_text("failed")
    expect(quiet_page.get_by_role("status")).to_have_text("The task is failed.")
    expect(quiet_page.locator("details", has_text="Result")).to_contain_text("what it said")
    expect(quiet_page.get_by_text("mahavishnu pools retry")).to_be_visible()


def test_what_does_not_exist_is_said_to_and_appears_when_it_is_made(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/#/task/nothing")
    expect(page.get_by_role("heading", name="No such task")).to_be_visible()
    page.goto(f"{site.url}/#/pool/eta")
    expect(page.get_by_role("heading", name="No such pool")).to_be_visible()

    site.world.pool("eta")

    expect(page.get_by_role("heading", level=1)).to_have_text("eta")


def test_markup_in_names_of_pages_and_tasks_is_text(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/#/task/{EVIL.replace('<', '%3C').replace('>', '%3E')}")

    expect(page.get_by_text(f'No task has the id "{EVIL}"')).to_be_visible()
    assert page.evaluate("window.hacked") is None
    # Not even what finds its way into the page by another fault is run.
    refused = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 3\">')"
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate(refused)

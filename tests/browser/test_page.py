"""The page of the server in a real browser: what it shows, live output, the keyboard, and what it never does."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.server.live.changes import changes
from mahavishnu_pools.server.live.topics import frame
from mahavishnu_pools.server.live.views import Overview
from mahavishnu_pools.store import pools
from tests.browser.conftest import NewPage, Shoot
from tests.browser.looking import FAINT, WATCH, row
from tests.browser.site import Site

EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"


@pytest.fixture(scope="module")
def guarded(valkey_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a server with the token ``open sesame``, which a test may kill and start again."""
    log = tmp_path_factory.mktemp("guarded") / "server.log"
    found = Site(valkey_server.url, f"page-{secrets.token_hex(4)}", log, token="open sesame")
    yield found
    print(log.read_text()[-4000:])
    found.end()


def test_pools_are_shown_as_they_are_and_as_they_become(quiet_page: Page, web: Site) -> None:
    pool = web.world.pool("alpha", workers=4)
    other = web.world.pool("beta", workers=1, status=PoolStatus.DEGRADED)
    web.world.run(pools.change_pool(other, reason="claude is missing on node1"))
    web.node("node1", **{pool: 4})
    web.running(pool)
    web.world.to(pool, 3)

    quiet_page.goto(web.url)

    expect(row(quiet_page, "alpha")).to_contain_text("running")
    expect(row(quiet_page, "alpha")).to_contain_text("1 of 4")
    expect(row(quiet_page, "beta")).to_contain_text("claude is missing on node1")
    expect(quiet_page.get_by_role("table", name="Nodes")).to_contain_text("eu-west · #linux")
    expect(quiet_page.get_by_role("table", name="Running now")).to_contain_text("alpha · prompt")
    element = row(quiet_page, "alpha").element_handle()
    web.running(pool)
    web.world.run(pools.change_pool(pool, status=PoolStatus.PAUSED, reason="it was paused"))
    expect(row(quiet_page, "alpha")).to_contain_text("paused")
    expect(row(quiet_page, "alpha")).to_contain_text("2 of 4")
    # What changed is the row that was there before: focus and selection stay.
    assert element.is_visible()


def test_output_comes_live_with_its_colours_and_is_never_run(quiet_page: Page, web: Site) -> None:
    task = web.running(web.world.pool("epsilon"), prompt=EVIL)
    web.prints(task, f"plain \x1b[1;31mred\x1b[0m {EVIL}\n\x1b]0;title\x07after\n")
    quiet_page.goto(f"{web.url}/#/task/{task}")
    log = quiet_page.get_by_role("log")

    expect(log).to_contain_text(f"plain red {EVIL}")
    expect(log.locator("span.f1.b")).to_have_text("red")
    web.prints(task, "10 %\r20 %\r99 %")
    web.prints(task, " done\n")
    web.prints(task, "a warning\n", stream="stderr")
    expect(log.locator("div").nth(2)).to_have_text("99 % done")
    expect(log.locator("div.stderr")).to_have_text("a warning")
    assert log.inner_text().splitlines()[1] == "after"
    assert quiet_page.evaluate("window.hacked") is None
    expect(quiet_page.get_by_text("mahavishnu pools cancel")).to_be_visible()


def test_an_outcome_is_shown_when_it_comes_with_its_error(quiet_page: Page, web: Site) -> None:
    pool = web.world.pool("zeta")
    task = web.world.to(pool)[0]
    lease = web.world.lease(pool)
    (claim,) = web.world.claim(lease, pool)
    quiet_page.goto(f"{web.url}/#/task/{task}")
    expect(quiet_page.locator("h1 + .pill")).to_have_text("running")

    web.world.run(web.world.finish_call(web.world.held(lease, pool, claim), status="failed", output="what it said"))

    expect(quiet_page.locator("h1 + .pill")).to_have_text("failed")
    expect(quiet_page.get_by_role("status")).to_have_text("The task is failed.")
    expect(quiet_page.locator("details", has_text="Result")).to_contain_text("what it said")
    expect(quiet_page.get_by_text("mahavishnu pools retry")).to_be_visible()


def test_what_does_not_exist_is_said_to_and_appears_when_it_is_made(page: Page, web: Site) -> None:
    page.goto(f"{web.url}/#/task/nothing")
    expect(page.get_by_role("heading", name="No such task")).to_be_visible()
    page.goto(f"{web.url}/#/pool/eta")
    expect(page.get_by_role("heading", name="No such pool")).to_be_visible()

    web.world.pool("eta")

    expect(page.get_by_role("heading", level=1)).to_have_text("eta")


def test_markup_in_names_of_pages_and_tasks_is_text(page: Page, web: Site) -> None:
    page.goto(f"{web.url}/#/task/{EVIL.replace('<', '%3C').replace('>', '%3E')}")

    expect(page.get_by_text(f'No task has the id "{EVIL}"')).to_be_visible()
    assert page.evaluate("window.hacked") is None
    # Not even what finds its way into the page by another fault is run.
    refused = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 3\">')"
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate(refused)


def sign_in(page: Page, token: str = "open sesame") -> None:
    page.get_by_label("Token of this server").fill(token)
    page.keyboard.press("Enter")


def test_the_token_is_asked_for_and_lets_tasks_be_cancelled(page: Page, guarded: Site, shoot: Shoot) -> None:
    task = guarded.running(guarded.world.pool("theta"))
    page.goto(f"{guarded.url}/#/task/{task}")
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_have_text("This is not the server's token.")
    shoot(page, "page-sign-in")
    sign_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(task)

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Really cancel?").click()

    expect(page.get_by_role("status")).to_have_text("The task is being stopped.")
    # Of another tab nothing is known.
    assert page.evaluate("[document.cookie, Object.keys(localStorage).length]") == ["", 0]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token of this server")).to_be_focused()


def test_what_awaits_approval_is_decided_with_the_keyboard_and_a_reason(
    page: Page, guarded: Site, shoot: Shoot
) -> None:
    pool = guarded.world.pool("nu", workers=2)
    guarded.node("node-nu", **{pool: 2})
    ids = [guarded.world.to(pool, prompt=text, approval="required")[0] for text in ("Delete it", EVIL)]
    page.goto(guarded.url)
    sign_in(page)
    waiting = page.get_by_role("table", name="Waiting for approval")
    expect(waiting).to_contain_text("Delete it")
    expect(waiting).to_contain_text(EVIL)

    page.get_by_role("button", name=f"Approve {ids[0][:13]}").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=f"Approve {ids[0][:13]}?")
    expect(dialog).to_contain_text("Delete it")
    assert page.evaluate(FAINT) == []
    shoot(page, "page-approve")
    page.keyboard.type("checked the list")
    page.keyboard.press("Tab")
    page.keyboard.type("Ana")
    page.keyboard.press("Enter")

    expect(page.get_by_role("status")).to_have_text(f"Task {ids[0][:13]} is approved.")
    expect(waiting).not_to_contain_text("Delete it")
    # Who was at the row that left goes on at the next one.
    expect(page.get_by_role("link", name=ids[1][:13]).first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("It runs when somebody has approved of it.")).to_be_visible()
    page.get_by_role("button", name="Refuse").click()
    page.keyboard.press("Escape")
    expect(page.locator("h1 + .pill")).to_have_text("awaiting approval")
    page.get_by_role("button", name="Refuse").click()
    expect(page.get_by_label("Your name (optional)")).to_have_value("Ana")
    page.get_by_role("dialog").get_by_role("button", name="Refuse").click()
    expect(page.locator("h1 + .pill")).to_have_text("refused")
    expect(page.get_by_text("It runs when somebody has approved of it.")).to_be_hidden()
    expect(page.locator("dd", has_text="refused by Ana")).to_be_visible()
    page.goto(f"{guarded.url}/#/task/{ids[0]}")
    expect(page.get_by_text("checked the list")).to_be_visible()
    approval = guarded.world.task(ids[0]).approval
    assert approval is not None
    assert (approval.decision, approval.by, approval.reason) == ("approved", "Ana", "checked the list")
    assert page.evaluate("window.hacked") is None


def test_pools_are_sorted_by_a_column_and_stay_so_while_they_change(quiet_page: Page, web: Site) -> None:
    made = [web.world.pool(f"order-{name}", workers=1) for name in "abc"]
    for pool, count in zip(made, (1, 3, 2), strict=True):
        web.world.to(pool, count)
    quiet_page.goto(web.url)
    quiet_page.get_by_label("Filter").fill("order-")
    names = quiet_page.get_by_role("table", name="Pools").locator("a.row")
    expect(names).to_have_text(["order-a", "order-b", "order-c"])
    head = quiet_page.get_by_role("columnheader", name="Waiting")

    head.get_by_role("button").press("Enter")
    expect(names).to_have_text(["order-b", "order-c", "order-a"])
    expect(head).to_have_attribute("aria-sort", "descending")
    names.nth(2).focus()
    web.world.to(made[0], 9)
    expect(names).to_have_text(["order-a", "order-b", "order-c"])
    expect(quiet_page.get_by_role("link", name="order-a").first).to_be_focused()

    head.get_by_role("button").press("Enter")
    expect(names).to_have_text(["order-c", "order-b", "order-a"])
    expect(head).to_have_attribute("aria-sort", "ascending")
    head.get_by_role("button").press("Enter")
    expect(names).to_have_text(["order-a", "order-b", "order-c"])
    expect(quiet_page.locator("[aria-sort]")).to_have_count(0)


def test_a_lost_connection_is_said_and_output_goes_on_without_a_gap_or_a_repetition(page: Page, guarded: Site) -> None:
    task = guarded.running(guarded.world.pool("iota"))
    guarded.prints(task, "one\n")
    page.goto(f"{guarded.url}/#/task/{task}")
    sign_in(page)
    expect(page.get_by_role("log")).to_have_text("one")

    guarded.kill()
    expect(page.get_by_role("alert")).to_contain_text("The connection to the server is lost. Trying again …")
    expect(page.get_by_role("log")).to_have_text("one")
    guarded.prints(task, "two\n")
    guarded.start()

    expect(page.locator("#alert")).to_be_hidden()
    expect(page.get_by_role("log").locator("div")).to_have_text(["one", "two"])
    expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_who_begins_is_told_the_first_commands(page: Page, web: Site, shoot: Shoot) -> None:
    nothing = Overview(
        at=1,
        version="1",
        actions=False,
        dead_letters=0,
        cooling=(),
        pools=(),
        groups=(),
        nodes=(),
        events=(),
        running=(),
        awaiting=(),
        awaiting_total=0,
    )
    begin = frame("state", changes(None, nothing.model_dump(mode="json")))
    answers = [frame("problem", {"code": "stack_not_running", "message": "No stack runs."}), begin]
    events = {"content-type": "text/event-stream"}
    page.route("**/api/stream/overview", lambda route: route.fulfill(headers=events, body=answers[0]))

    page.goto(web.url)
    expect(page.get_by_role("heading", name="No stack runs")).to_be_visible()
    expect(page.get_by_text("mahavishnu up --detach")).to_be_visible()
    answers[0] = begin
    expect(page.get_by_text("mahavishnu pools spawn --name local --worker-type shell")).to_be_visible()
    expect(page.get_by_text("Nothing has happened yet.")).to_be_visible()
    shoot(page, "page-empty")

    page.unroute("**/api/stream/overview")
    web.world.pool("kappa")
    page.goto(f"{web.url}/#/pool/kappa")
    expect(page.get_by_text("mahavishnu pools execute kappa --prompt 'echo hello'")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_width_and_every_text_can_be_read(
    new_page: NewPage, web: Site, shoot: Shoot, width: int, scheme: str
) -> None:
    name = f"a-pool-with-a-name-as-long-as-names-may-be-{scheme}-{width}"
    pool = web.world.pool(name, workers=3, status=PoolStatus.DEGRADED)
    web.world.run(pools.change_pool(pool, reason="/usr/local/bin/" + "a-very-long-path/" * 9))
    web.node(f"node-{scheme}-{width}", **{pool: 3})
    task = web.running(pool, prompt="An_unbroken_word_" * 40)
    web.world.finished(pool, 2, status="failed")
    web.world.to(pool, 2)
    web.prints(task, "\x1b[32mok\x1b[0m " + "wide" * 200 + "\n")
    gated = web.world.to(pool, prompt="Delete_everything_" * 20, approval="required")[0]
    changed = web.changed(pool, name="a-name-" + "as-long-" * 7)
    web.world.to(pool, after=[changed], name="then-" + "as-long-" * 7)
    page = new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for place, shown in (
        ("", name),
        (f"#/pool/{name}", "An_unbroken"),
        (f"#/task/{task}", "wide"),
        (f"#/task/{gated}", "has approved"),
        (f"#/task/{changed}", f"mahavishnu pools diff {changed}"),
    ):
        page.goto(f"{web.url}/{place}")
        expect(page.locator("main").get_by_text(shown).first).to_be_visible()
        what = (
            "gate"
            if gated in place
            else "changed"
            if changed in place
            else place.split("/")[1]
            if place
            else "overview"
        )
        shoot(page, f"page-{what}-{width}-{scheme}")

        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(FAINT) == []


def test_a_hundred_pools_stay_fluid_and_only_what_changes_is_written(page: Page, guarded: Site) -> None:
    made = [guarded.world.pool(f"many-{number:03}") for number in range(100)]
    guarded.world.to(made[7], 1000)
    page.goto(guarded.url)
    sign_in(page)
    # Rates appear in all rows at once, when there is something to compare with.
    expect(row(page, "many-099").locator('[data-label="tasks/min"]')).to_have_text(re.compile(r"\d"), timeout=30_000)
    page.evaluate(WATCH)

    guarded.world.run(pools.change_pool(made[50], status=PoolStatus.PAUSED))

    expect(row(page, "many-050")).to_contain_text("paused")
    # Pools of other tests on this site may still come to rest.
    touched = page.evaluate("[...window.touched].filter(name => name.startsWith('many-'))")
    assert touched == ["many-050"]
    page.get_by_role("link", name="many-007").first.click()
    expect(page.get_by_role("table", name="Waiting").get_by_role("row")).to_have_count(51)
    expect(page.get_by_text("950 more wait.")).to_be_visible()

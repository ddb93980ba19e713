"""The page of the server under the keyboard alone, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.looking import row
from tests.browser.site import Site


def test_the_keyboard_finds_and_opens_a_pool_and_a_task_and_goes_back(quiet_page: Page, web: Site) -> None:
    pool = web.world.pool("gamma-keys", workers=2)
    web.world.pool("delta-keys")
    task = web.running(pool, prompt="Fix the parser")
    done = web.world.finished(pool, 1, prompt="Write the tests")[0]
    quiet_page.goto(web.url)
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


def test_the_tasks_around_one_are_links_that_the_keyboard_reaches(quiet_page: Page, web: Site) -> None:
    page, world, pool = quiet_page, web.world, web.world.pool("sigma")
    first, second = world.to(pool, 2)
    (task,) = world.to(pool, after=[first, second])
    (child,) = world.to(pool, after=[task], name="script-next")
    page.goto(f"{web.url}/#/task/{task}")
    before, then = page.get_by_role("list", name="Comes after"), page.get_by_role("list", name="Then comes")
    expect(before.get_by_role("listitem")).to_have_count(2)
    expect(then).to_contain_text("script-nextwaiting")

    lease = world.lease(pool)
    for claim in world.claim(lease, pool, 2):
        world.run(world.finish_call(world.held(lease, pool, claim)))

    expect(before.get_by_text("completed")).to_have_count(2, timeout=30_000)
    for link in (before.get_by_role("link").nth(0), before.get_by_role("link").nth(1), then.get_by_role("link")):
        page.keyboard.press("j")
        expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(child)


def test_keys_are_those_of_the_page_before_its_first_frame_is_drawn(quiet_page: Page, web: Site) -> None:
    # As in a tab that is not looked at, or on a machine that is busy.
    quiet_page.add_init_script("window.requestAnimationFrame = () => 0")
    pool = web.world.pool("epsilon-keys")
    quiet_page.goto(f"{web.url}/#/task/{web.running(pool)}")
    expect(quiet_page.get_by_role("link", name="epsilon-keys").first).to_be_visible()

    quiet_page.keyboard.press("Escape")

    expect(quiet_page.get_by_role("heading", level=1)).to_have_text("epsilon-keys")

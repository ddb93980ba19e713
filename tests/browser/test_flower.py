"""Flower in a real browser: what it shows of pools, and that its buttons do to them what they say."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Page, expect

from mahavishnu_pools import names
from tests.fixtures.groups import ROOT, GroupProcess, Site
from tests.fixtures.valkey import free_port
from tests.waiting import eventually

USER = {"username": "me", "password": "secret-enough"}

#: Milliseconds that a page may take to show what is the case.
PATIENCE = 30_000


class Place(NamedTuple):
    """Flower as ``mahavishnu flower`` starts it, and one worker group it sees."""

    url: str
    site: Site
    group: GroupProcess

    @property
    def pool_id(self) -> str:
        return self.group.pool_id

    def workers(self) -> int:
        return self.site.read_pool(self.pool_id).workers


@pytest.fixture(scope="module")
def place(site: Site) -> Iterator[Place]:
    port = free_port()
    own = {
        "MAHAVISHNU_REDIS_URL": site.url,
        "MAHAVISHNU_DATA_DIR": str(site.directory),
        "MAHAVISHNU_FLOWER_AUTH": ":".join(USER.values()),
    }
    log = site.directory / "flower.log"
    with log.open("wb") as out:
        command = [sys.executable, "-P", "-m", "mahavishnu_pools.cli.main", "flower", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **own}, stdout=out, stderr=out)
    group = site.group(site.pool("watched", workers=2, min_workers=1, max_workers=5))
    found = Place(f"http://127.0.0.1:{port}", site, group)
    try:
        eventually(lambda: _sees(found), within=120)
        yield found
    finally:
        print(log.read_text(errors="replace")[-4000:])
        process.kill()
        process.wait()


def _sees(place: Place) -> bool:
    """Tell whether Flower knows the group and has asked it to tell of tasks, which it does until then of none."""
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.get(f"{place.url}/api/workers?refresh=true", auth=tuple(USER.values()), timeout=20)
        return place.group.node in answer.raise_for_status().json() and "enabled by remote" in place.group.log()
    return False


@pytest.fixture
def page(place: Place, new_page: Callable[..., Page]) -> Page:
    """Return a page of somebody who has logged in at the front door: Flower's API does not ask browsers to log in."""
    page = new_page(viewport={"width": 1280, "height": 900}, http_credentials=USER)
    page.goto(place.url)
    return page


def test_nobody_gets_in_without_the_password(place: Place, new_page: Callable[..., Page]) -> None:
    stranger = new_page(http_credentials={**USER, "password": "wrong"})

    answer = stranger.goto(f"{place.url}/workers")

    assert answer is not None
    assert answer.status == 401
    assert place.pool_id not in stranger.content()


def test_a_group_its_queue_tasks_and_results_are_shown(
    place: Place, page: Page, shoot: Callable[[Page, str], Path]
) -> None:
    site = place.site
    page.goto(f"{place.url}/workers")
    expect(page.get_by_text(place.group.node)).to_be_visible(timeout=PATIENCE)
    shoot(page, "flower-workers")
    good, bad = (site.shell(place.pool_id, command) for command in ("echo seen in the browser", "exit 1"))
    assert [site.outcome(one, within=30).status for one in (good, bad)] == ["completed", "failed"]

    page.goto(f"{place.url}/tasks")
    for task_id, state in ((good, "SUCCESS"), (bad, "FAILURE")):
        row = page.get_by_role("row").filter(has_text=task_id)
        expect(row).to_contain_text(state, timeout=PATIENCE)
    shoot(page, "flower-tasks")
    page.goto(f"{place.url}/task/{good}")
    expect(page.locator("body")).to_contain_text("seen in the browser", timeout=PATIENCE)
    expect(page.locator("body")).to_contain_text(names.RUN_TASK)
    expect(page.locator("body")).to_contain_text("Started")
    shoot(page, "flower-task")
    page.goto(f"{place.url}/broker")
    expect(page.locator("body")).to_contain_text(names.queue_of(place.pool_id), timeout=PATIENCE)
    shoot(page, "flower-broker")


def test_grow_and_shrink_scale_the_pool_within_its_limits(
    place: Place, page: Page, shoot: Callable[[Page, str], Path]
) -> None:
    page.goto(f"{place.url}/worker/{place.group.node}")
    before = place.workers()

    page.locator("#pool-size").fill("2")
    page.get_by_role("button", name="Grow").click()
    expect(page.get_by_text(f"Growing '{place.group.node}' worker's pool by 2")).to_be_visible(timeout=PATIENCE)
    shoot(page, "flower-grow")
    assert place.workers() == before + 2

    page.get_by_role("button", name="Grow").click()
    expect(page.get_by_text("max_workers")).to_be_visible(timeout=PATIENCE)
    shoot(page, "flower-grow-refused")
    assert place.workers() == before + 2

    page.get_by_role("button", name="Shrink").click()
    expect(page.get_by_text(f"Shrinking '{place.group.node}' worker's pool by 2")).to_be_visible(timeout=PATIENCE)
    assert place.workers() == before


def test_a_rate_limit_holds_the_pool_back(place: Place, page: Page, shoot: Callable[[Page, str], Path]) -> None:
    page.goto(f"{place.url}/worker/{place.group.node}")
    page.get_by_role("tab", name="Limits").click()

    def apply(rate: str) -> None:
        page.get_by_label(f"Rate limit for {names.RUN_TASK}", exact=True).fill(rate)
        page.locator(f'[id="task-rate-limit-{names.RUN_TASK}"]').click()

    apply("3")
    expect(page.get_by_text("at most 3/s tasks")).to_be_visible(timeout=PATIENCE)
    shoot(page, "flower-rate-limit")
    assert place.site.read_pool(place.pool_id).config.rate_limit == "3/s"

    apply("0")
    expect(page.get_by_text("as many tasks as it can")).to_be_visible(timeout=PATIENCE)
    assert place.site.read_pool(place.pool_id).config.rate_limit is None


def terminate(page: Page, place: Place, task_id: str) -> None:
    """Press the button on the page of a task, which is there once Flower has heard of the start."""
    button = page.get_by_role("button", name="Terminate")

    def there() -> int:
        page.goto(f"{place.url}/task/{task_id}")
        return button.count()

    eventually(there, within=60)
    button.click()


def test_revoke_keeps_a_task_from_running_and_terminate_ends_one(
    place: Place, page: Page, shoot: Callable[[Page, str], Path]
) -> None:
    site = place.site
    held = [site.shell(place.pool_id, "sleep 60") for _ in range(2)]
    for one in held:
        site.running(one)
    waits = site.shell(place.pool_id, "true")
    terminate(page, place, held[0])

    assert site.outcome(held[0], within=30).status == "cancelled"
    shoot(page, "flower-terminate")
    assert site.outcome(waits, within=30).status == "completed"

    again = site.shell(place.pool_id, "sleep 60")
    site.running(again)
    waits = site.shell(place.pool_id, "true")
    answer = page.evaluate("id => fetch(`/api/task/revoke/${id}`, {method: 'POST'}).then(r => r.status)", waits)

    assert answer == 200
    assert site.outcome(waits, within=30).status == "cancelled"
    for one in (held[1], again):
        terminate(page, place, one)
        assert site.outcome(one, within=30).status == "cancelled"

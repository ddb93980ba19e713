"""Flower 2.2 as it is, on the app of our workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from mahavishnu_pools import names
from tests.fixtures.groups import ROOT, GroupProcess, Site
from tests.fixtures.valkey import free_port
from tests.waiting import eventually

#: Seconds Flower may take to start and to have seen a worker.
START = 60.0


class Flower(NamedTuple):
    http: httpx.Client
    site: Site
    group: GroupProcess

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()


@pytest.fixture(scope="module")
def flower(site: Site) -> Iterator[Flower]:
    port = free_port()
    env = {"MAHAVISHNU_REDIS_URL": site.url, "FLOWER_UNAUTHENTICATED_API": "true"}
    log = site.directory / "flower.log"
    options = ["--address=127.0.0.1", f"--port={port}", "--inspect_timeout=1500"]
    with log.open("wb") as out:
        command = [sys.executable, "-m", "celery", "-A", "workers.app", "flower", *options]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=out)
    group = site.group(site.pool("watched", workers=1))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            place = Flower(http, site, group)
            eventually(lambda: _sees(place), within=START)
            site.client().control.enable_events()
            eventually(lambda: "enabled by remote" in group.log(), within=START)
            yield place
    finally:
        print(log.read_text(errors="replace")[-4000:])
        process.kill()
        process.wait()


def _sees(flower: Flower) -> bool:
    try:
        return flower.group.node in flower.get("/api/workers?refresh=true")
    except httpx.HTTPError:
        return False


def test_it_shows_groups_with_their_queue_and_workers(flower: Flower) -> None:
    # Flower asks anew each time, and has an answer only if it comes in time.
    about = eventually(lambda: flower.get("/api/workers?refresh=true").get(flower.group.node), within=START)

    assert [queue["name"] for queue in about["active_queues"]] == [names.queue_of(flower.group.pool_id)]
    assert about["stats"]["pool"]["max-concurrency"] == 1
    assert names.RUN_TASK in about["registered"]


def test_it_shows_what_becomes_of_tasks(flower: Flower) -> None:
    """Point 4: our own way of running tasks feeds Celery's events."""
    good, bad = (flower.site.shell(flower.group.pool_id, command) for command in ("echo yes", "exit 1"))
    assert [flower.site.outcome(one).status for one in (good, bad)] == ["completed", "failed"]

    def states() -> list[str]:
        seen = flower.get("/api/tasks")
        return [seen.get(one, {}).get("state", "") for one in (good, bad)]

    assert eventually(states, until=lambda found: found == ["SUCCESS", "FAILURE"])
    about = flower.get(f"/api/task/info/{good}")
    assert about["name"] == names.RUN_TASK
    assert about["received"] <= about["started"] <= about["succeeded"]


def test_an_attempt_that_is_made_again_is_no_failure(flower: Flower) -> None:
    mark = flower.site.directory / "second"
    command = f"test -e {mark} && exit 0; touch {mark}; exit 7"
    task_id = flower.site.shell(flower.group.pool_id, command, max_retries=1)

    def seen() -> Any:
        return flower.get("/api/tasks").get(task_id, {})

    assert flower.site.outcome(task_id, within=30).attempts == 2
    about = eventually(seen, until=lambda found: found.get("state") == "SUCCESS", within=30)
    assert about["retried"]
    assert not about["failed"]


def test_its_broker_page_counts_what_waits_and_its_revoke_ends_tasks(flower: Flower) -> None:
    """Point 9: ``as_uri`` is ``redis://`` and waiting work stays in lists, or the page would stay empty."""
    site, pool_id = flower.site, flower.group.pool_id
    held = site.shell(pool_id, "sleep 60")
    site.running(held)
    waiting = [site.shell(pool_id, "true") for _ in range(3)]
    queue = names.queue_of(pool_id)

    def lengths() -> dict[str, int]:
        return {one["name"]: one["messages"] for one in flower.get("/api/queues/length")["active_queues"]}

    assert eventually(lengths, until=lambda found: found == {queue: 3})
    page = flower.http.get("/broker").raise_for_status().text
    assert queue in page
    assert "redis://" in page

    flower.http.post(f"/api/task/revoke/{waiting[0]}").raise_for_status()
    flower.http.post(f"/api/task/revoke/{held}", params={"terminate": "true"}).raise_for_status()

    assert [site.outcome(one).status for one in (waiting[0], held)] == ["cancelled", "cancelled"]
    assert [site.outcome(one).status for one in waiting[1:]] == ["completed", "completed"]

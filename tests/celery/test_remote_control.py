"""Celery's remote control of worker groups: inspect, pool_grow, pool_shrink, revoke."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from celery import Celery

from mahavishnu_pools import names
from tests.fixtures.groups import GroupProcess, Site, lines
from tests.waiting import eventually


class Place(NamedTuple):
    app: Celery
    pool_id: str
    group: GroupProcess
    site: Site

    def inspect(self, command: str) -> Any:
        found = getattr(self.app.control.inspect([self.group.node], timeout=30, limit=1), command)()
        assert found is not None
        return found[self.group.node]

    def control(self, command: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        sent = getattr(self.app.control, command)
        [reply] = sent(*args, destination=[self.group.node], reply=True, timeout=30, limit=1, **kwargs)
        return dict(reply[self.group.node])


@pytest.fixture(scope="module")
def place(site: Site) -> Iterator[Place]:
    pool_id = site.pool(workers=2, min_workers=1, max_workers=5)
    place = Place(site.client(), pool_id, site.group(pool_id), site)
    # The group takes tasks before Celery's remote control has subscribed.
    eventually(lambda: place.app.control.inspect([place.group.node], timeout=0.5, limit=1).ping())
    return place


def test_inspect_sees_queue_tasks_and_figures(place: Place) -> None:
    """Points 4 and 9: our tasks bypass Celery's consumer and are still in its state."""
    site = place.site
    running = [site.shell(place.pool_id, f"touch {site.directory}/i{n}; sleep 60") for n in range(2)]
    waiting = site.shell(place.pool_id, "true")
    eventually(lambda: all(site.task(one).status == "running" for one in running))

    # A claim is written down before its worker begins.
    active = eventually(lambda: place.inspect("active"), until=lambda found: len(found) == 2)

    assert place.inspect("ping") == {"ok": "pong"}
    assert {one["id"] for one in active} == set(running)
    assert {one["name"] for one in active} == {names.RUN_TASK}
    assert place.inspect("reserved") == []
    assert names.RUN_TASK in place.inspect("registered")
    assert [queue["name"] for queue in place.inspect("active_queues")] == [names.queue_of(place.pool_id)]
    stats = json.loads(json.dumps(place.inspect("stats")))
    assert stats["pool"]["max-concurrency"] == 2
    assert stats["broker"]["transport"] == "redis"
    assert site.task(waiting).status == "queued"
    for one in [waiting, *running]:
        place.app.control.revoke(one, terminate=True)
        assert site.outcome(one).status == "cancelled"
    assert eventually(lambda: place.inspect("active"), until=lambda found: found == []) == []


def test_growing_and_shrinking_is_stored_and_kept_within_the_pools_limits(place: Place) -> None:
    """Point 7: the limit changes before the call returns; point 12: only with a destination."""
    site = place.site

    assert "ok" in place.control("pool_grow", 2)
    assert site.read_pool(place.pool_id).workers == 4
    assert place.inspect("stats")["pool"]["max-concurrency"] == 4
    assert "max_workers" in place.control("pool_grow", 2)["error"]
    assert "ok" in place.control("pool_shrink", 2)
    assert "1 to 5" in place.control("pool_shrink", 2)["error"]
    assert site.read_pool(place.pool_id).workers == 2


def test_shrinking_waits_for_running_tasks(place: Place) -> None:
    """Points 7 and 8: no thread ends under a task, and with it no child process."""
    site = place.site
    go = site.directory / "go"
    held = [site.shell(place.pool_id, f"while [ ! -e {go} ]; do sleep 0.05; done; echo through") for _ in range(2)]
    eventually(lambda: all(site.task(one).status == "running" for one in held))

    assert "ok" in place.control("pool_shrink", 1)
    third = site.shell(place.pool_id, "true")
    go.touch()

    assert [site.outcome(one).output for one in held] == ["through\n"] * 2
    assert site.outcome(third).ok
    assert "ok" in place.control("pool_grow", 1)


def test_a_rate_limit_is_the_pools_and_holds_until_it_is_taken_away(place: Place) -> None:
    """Celery's own counts only what its own consumer got, in one worker, until that ends."""
    site = place.site

    said = place.control("rate_limit", names.RUN_TASK, "1/h")
    ids = [site.shell(place.pool_id, "true") for _ in range(2)]

    assert said == {"ok": "the pool starts at most 1/h tasks"}
    assert site.read_pool(place.pool_id).config.rate_limit == "1/h"
    assert site.outcome(ids[0]).ok
    assert site.task(ids[1]).status == "queued"
    assert "ok" in place.control("rate_limit", names.RUN_TASK, 0)
    assert site.outcome(ids[1]).ok
    assert site.read_pool(place.pool_id).config.rate_limit is None
    assert "30/m" in place.control("rate_limit", names.RUN_TASK, "often")["error"]


def test_what_a_pool_cannot_do_is_refused_instead_of_called_done(place: Place) -> None:
    queue = names.queue_of(place.pool_id)

    assert "its own timeout" in place.control("time_limit", names.RUN_TASK, soft=1.0, hard=2.0)["error"]
    assert "pools pause" in place.control("cancel_consumer", queue)["error"]
    assert "pools pause" in place.control("add_consumer", queue)["error"]
    assert "pools scale --max" in place.control("autoscale", 5, 1)["error"]
    assert "pools restart" in place.control("pool_restart")["error"]
    assert "ok" in place.control("time_limit", "celery.backend_cleanup", hard=900.0)
    assert place.site.outcome(place.site.shell(place.pool_id, "true")).ok


def test_a_revoked_task_that_waits_never_runs(place: Place) -> None:
    site = place.site
    held = [site.shell(place.pool_id, "sleep 60") for _ in range(2)]
    eventually(lambda: all(site.task(one).status == "running" for one in held))
    mark = site.directory / "never"
    task_id = site.shell(place.pool_id, f"touch {mark}")

    place.app.control.revoke(task_id)

    eventually(lambda: place.app.AsyncResult(task_id).state, until=lambda state: state == "REVOKED")
    for one in held:
        place.app.control.revoke(one, terminate=True)
        assert site.outcome(one).status == "cancelled"
    assert site.outcome(site.shell(place.pool_id, "true")).ok
    assert not mark.exists()
    assert site.task(task_id).attempts == 0


def _tree(path: Path) -> list[int]:
    pids = [int(line) for line in lines(path)]
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_a_revoked_task_that_runs_is_ended_with_its_process_tree_before_it_is_called_revoked(place: Place) -> None:
    """Point 6: stock Celery records REVOKED before anything is dead; here finish alone does."""
    site, pids = place.site, place.site.directory / "pids"
    command = f"trap '' TERM; sh -c 'echo $$ >> {pids}; exec sleep 60' & echo $$ >> {pids}; wait"
    task_id = site.shell(place.pool_id, command)
    assert len(eventually(lambda: _tree(pids), until=lambda found: len(found) == 2)) == 2
    result = place.app.AsyncResult(task_id)

    place.app.control.revoke(task_id, terminate=True)

    eventually(lambda: result.state, until=lambda state: state == "REVOKED")
    assert _tree(pids) == []
    assert site.task(task_id).status == "cancelled"


def test_revoke_works_when_no_worker_is_online(own_site: Site) -> None:
    """Point 11: stock revokes live in the memory of workers that are online; ours are stored."""
    pool_id = own_site.pool()
    app = own_site.client()
    task_id, twin = own_site.shell(pool_id, "true"), own_site.shell(pool_id, "true")

    app.control.revoke(task_id)
    app.AsyncResult(twin).revoke()

    for one in (task_id, twin):
        assert own_site.outcome(one).status == "cancelled"
        assert app.AsyncResult(one).state == "REVOKED"


def test_a_group_that_is_told_to_shut_down_leaves_in_good_order(place: Place) -> None:
    site = place.site
    pool_id = site.pool()
    group = site.group(pool_id)
    eventually(lambda: place.app.control.inspect([group.node], timeout=0.5, limit=1).ping())
    task_id = site.shell(pool_id, "sleep 3; echo end")
    site.running(task_id)

    place.app.control.shutdown(destination=[group.node])

    assert group.process.wait(timeout=30) == 0
    assert site.task(task_id).output == "end\n"

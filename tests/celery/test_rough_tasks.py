"""Tasks that do what nobody expects: none of them ends a worker, a group, or the tasks beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.store import logs
from tests.fixtures.groups import GroupProcess, Site
from workers.concurrency import NoRoom, SlotThreads

ROUGH = """
import sys
from pydantic import BaseModel
from mahavishnu_pools.task_types import task_type

class Nothing(BaseModel):
    deep: object = None

@task_type("leaves", payload=Nothing)
def leaves(payload, context):
    sys.exit(3)

@task_type("nests", payload=Nothing)
def nests(payload, context):
    value = 1
    for _ in range(300):
        value = [value]
    return value

@task_type("takes", payload=Nothing)
def takes(payload, context):
    return "taken"
"""


@pytest.fixture
def group(site: Site, write_module: Callable[[str, str], Path]) -> GroupProcess:
    directory = write_module("rough", ROUGH)
    return site.group(site.pool(workers=2, imports=("rough",)), env={"PYTHONPATH": str(directory)})


def _send(site: Site, group: GroupProcess, task_type: str, **payload: Any) -> str:
    spec = {"task_type": task_type, "payload": payload}
    queue = names.queue_of(group.pool_id)
    return str(site.client().send_task(names.RUN_TASK, args=[spec], queue=queue).id)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_handler_that_leaves_the_program_has_failed_and_its_worker_goes_on(site: Site, group: GroupProcess) -> None:
    left = [_send(site, group, "leaves") for _ in range(4)]

    results = [site.outcome(one) for one in left]

    assert [result.status for result in results] == ["failed"] * 4
    assert "SystemExit: 3" in (results[0].error or "")
    assert site.outcome(_send(site, group, "takes")).value == "taken"
    assert site.read_pool(group.pool_id).running == 0


@pytest.mark.parametrize("depth", [150, 240, 400])
def test_deeply_nested_payloads_and_results_end_their_own_task_at_most(
    site: Site, group: GroupProcess, depth: int
) -> None:
    go = site.directory / f"go-{depth}"
    beside = site.shell(group.pool_id, f"while [ ! -e {go} ]; do sleep 0.05; done; echo unharmed")
    site.running(beside)

    given = site.outcome(_send(site, group, "takes", deep=_nested(depth)))
    returned = site.outcome(_send(site, group, "nests"))

    go.touch()
    assert {given.status.value, returned.status.value} <= {"completed", "failed"}
    assert site.outcome(beside).output == "unharmed\n"
    assert site.task(beside).attempts == 1
    assert group.process.poll() is None


def test_threads_count_only_those_that_started_and_survive_whatever_their_work_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, done = SlotThreads(), threading.Event()
    threads.submit(lambda: (_ for _ in ()).throw(SystemExit(1)))
    threads.submit(done.set)
    assert done.wait(30)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    held, busy = threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        busy.release()
        held.wait(30)

    def crowd(number: int) -> None:
        for _ in range(number):
            threads.submit(hold)

    crowd(4)
    assert all(busy.acquire(timeout=30) for _ in range(4))
    before = len(threads)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NoRoom):
            crowd(10)
    held.set()

    assert len(threads) == before


def test_a_long_log_is_cut_in_any_number_of_pieces(site: Site) -> None:
    entries = site.run(logs.write_log("t", [("stdout", "x")] * 12_000, ttl=60))

    assert site.run(logs.drop_log("t", entries[:11_000], mark_after=entries[0]))

    assert site.redis.xlen("mhv:log:t") == 1000

"""Idempotency keys of tasks that are sent by Celery."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import group

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import tasks
from tests.fixtures.groups import Site, lines


@pytest.fixture
def pool(site: Site) -> str:
    pool_id = site.pool(workers=4)
    site.group(pool_id)
    return pool_id


@pytest.fixture
def spec(site: Site) -> dict[str, Any]:
    key = secrets.token_hex(4)
    command = f"echo ran >> {site.directory}/{key}; sleep 0.3; echo done"
    return {"task_type": "shell", "payload": {"command": ["sh", "-c", command]}, "idempotency_key": key}


def ran(site: Site, spec: dict[str, Any]) -> int:
    return len(lines(site.directory / spec["idempotency_key"]))


def test_calls_with_one_key_are_one_task_while_it_waits_runs_and_after(
    site: Site, pool: str, spec: dict[str, Any]
) -> None:
    run_task = site.client().tasks[names.RUN_TASK]
    queue = names.queue_of(pool)

    with ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda _: run_task.apply_async((spec,), queue=queue), range(16)))

    assert len({result.id for result in sent}) == 1
    assert [result.get(timeout=30)["output"] for result in sent] == ["done\n"] * 16
    again = run_task.apply_async((spec,), queue=queue)
    assert again.id == sent[0].id
    assert again.get(timeout=30)["output"] == "done\n"
    assert ran(site, spec) == 1


def test_a_key_is_the_same_for_celery_and_for_the_manager(site: Site, pool: str, spec: dict[str, Any]) -> None:
    made = envelope(TaskSpec(**spec), task_id=names.new_task_id(), max_bytes=10_000)
    site.run(tasks.submit([made], Choice("pool", pool=pool)))

    result = site.client().tasks[names.RUN_TASK].apply_async((spec,), queue=names.queue_of(pool))

    assert result.id == made.task_id
    assert result.get(timeout=30)["output"] == "done\n"
    assert ran(site, spec) == 1


def test_who_needs_an_id_of_its_own_is_told_of_the_task_that_has_the_key(
    site: Site, pool: str, spec: dict[str, Any]
) -> None:
    run_task = site.client().tasks[names.RUN_TASK]
    queue = names.queue_of(pool)
    first = run_task.apply_async((spec,), queue=queue)

    with pytest.raises(errors.TaskExists, match=first.id):
        run_task.apply_async((spec,), queue=queue, task_id="mine")
    with pytest.raises(errors.TaskExists, match=first.id):
        group(run_task.s(spec).set(queue=queue) for _ in range(2)).apply_async()

    assert first.get(timeout=30)["output"] == "done\n"
    assert ran(site, spec) == 1

"""A stock Celery client (stock kombu transport, task routed to a pool's queue by name) and a real worker group."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import NotRegistered

from mahavishnu_pools import names
from mahavishnu_pools.store import keys
from tests.fixtures.groups import Site
from tests.waiting import eventually

#: Stock producers do not ring the bell: the group sees their messages within this time.
SEEN_SECONDS = 2.0

#: What a busy machine may add before a task runs and its result is back.
MARGIN = 20.0


@pytest.fixture(scope="module")
def pool_id(site: Site) -> Iterator[str]:
    pool_id = site.pool(workers=4)
    site.group(pool_id)
    return pool_id


@pytest.fixture(scope="module")
def app(site: Site) -> Celery:
    return site.stock()


def _send(app: Celery, pool_id: str, spec: dict[str, Any], **options: Any) -> Any:
    return app.send_task(names.RUN_TASK, args=[spec], queue=names.queue_of(pool_id), **options)


def _push(site: Site, pool_id: str, text: str | bytes, *, bucket: int = 0) -> None:
    separator = names.PRIORITY_SEPARATOR + str(bucket) if bucket else ""
    site.redis.lpush(keys.key("queue", prefix="", of=pool_id) + separator, text)


def test_its_run_task_runs_and_its_result_is_there_for_async_result(app: Celery, pool_id: str, site: Site) -> None:
    """Point 9: the transport is stock on both sides; point 3: no bell is needed."""
    began = time.monotonic()
    result = _send(app, pool_id, {"task_type": "shell", "payload": {"command": "echo hello"}})

    found = result.get(timeout=30)

    assert time.monotonic() - began < SEEN_SECONDS + MARGIN
    assert (found["output"], found["exit_code"], found["task_id"]) == ("hello\n", 0, result.id)
    assert found["pool_id"] == pool_id
    assert site.task(result.id).ok


def test_its_failure_is_raised_by_get(app: Celery, pool_id: str) -> None:
    result = _send(app, pool_id, {"task_type": "shell", "payload": {"command": ["sh", "-c", "exit 3"]}})

    with pytest.raises(Exception, match="3") as caught:
        result.get(timeout=30)

    assert type(caught.value).__name__ == "TaskFailed"
    assert result.state == "FAILURE"


def test_a_task_nobody_registered_is_a_dead_letter_and_a_failure_for_its_sender(
    app: Celery, pool_id: str, site: Site
) -> None:
    result = app.send_task("nobody.knows", args=[1], queue=names.queue_of(pool_id))

    with pytest.raises(NotRegistered):
        result.get(timeout=30)
    letter = eventually(lambda: site.dead_letters().get(result.id))
    assert site.task(result.id).status == "dead"
    assert letter is not None
    assert letter["pool"] == pool_id
    assert "nobody.knows" in letter["cause"]


def _message(**changes: Any) -> str:
    headers = {"id": names.new_task_id(), "task": names.RUN_TASK, "lang": "py", "argsrepr": "()", "retries": 0}
    whole = {"body": "W10=", "headers": headers, "properties": {"body_encoding": "base64", "delivery_tag": "x"}}
    whole |= {"content-type": "application/json", "content-encoding": "utf-8"}
    whole["headers"] = {**headers, **changes.pop("headers", {})}
    return json.dumps({**whole, **changes})


def _junk() -> dict[str, str | bytes]:
    return {
        "no JSON": "hello",
        "no text": b"\xff\xfe\x00",
        "another JSON": "[1, 2]",
        "no headers": '{"body": "x"}',
        "an id with a line break": _message(headers={"id": "a\nb"}),
        "no body": json.dumps({k: v for k, v in json.loads(_message()).items() if k != "body"}),
        "a body that is a number": _message(body=5),
        "a body of another form": _message(body="NQ=="),
        "a body whose embed is a list": _message(body="W1tdLHt9LFsxXV0="),
        "a hexadecimal number, which Lua reads": _message()[:-1] + ', "x": 0x10}',
        "nested too deep for Python": _message()[:-1] + ', "x": ' + "[" * 990 + "]" * 990 + "}",
        "a user's task with properties of another form": _message(
            headers={"task": "user.task"}, properties={"delivery_info": "x"}
        ),
        "a user's task with a content type nobody accepts": _message(
            headers={"task": "user.task"}, **{"content-type": "application/x-python-serialize"}
        ),
        "a user's task without a content type": _message(headers={"task": "user.task"}, **{"content-type": None}),
        "a user's task with headers of another form": _message(
            headers={"task": "user.task", "timelimit": 5, "lang": 7}
        ),
    }


@pytest.mark.parametrize("bucket", [0, 3])
def test_unreadable_messages_become_dead_letters_and_the_rest_goes_on(app: Celery, site: Site, bucket: int) -> None:
    """Point 10: no exception of a handler ends the loop or looks like a lost connection."""
    pool_id = site.pool(workers=2)
    junk = _junk()
    for text in junk.values():
        _push(site, pool_id, text, bucket=bucket)
    group = site.group(pool_id)

    result = _send(app, pool_id, {"task_type": "shell", "payload": {"command": "echo on"}})

    assert result.get(timeout=30)["output"] == "on\n"
    eventually(lambda: _causes(site, pool_id), until=lambda causes: len(causes) == len(junk))
    record = site.read_pool(pool_id)
    assert (record.queued, record.running) == (0, 0)
    assert group.process.poll() is None
    group.end()


def _causes(site: Site, pool_id: str) -> list[str]:
    return [letter["cause"] for letter in site.dead_letters().values() if letter["pool"] == pool_id]


def test_its_task_that_expired_in_the_queue_never_runs_and_is_revoked(app: Celery, site: Site, pool_id: str) -> None:
    result = _send(app, pool_id, {"task_type": "shell", "payload": {"command": "true"}}, expires=-1)

    eventually(lambda: result.state, until=lambda state: state == "REVOKED")
    assert site.task(result.id).attempts == 0


def test_its_task_with_a_countdown_waits_in_the_store_and_not_in_a_timer_of_a_worker(
    app: Celery, site: Site, pool_id: str
) -> None:
    """Point 2: a lost connection cannot clear what waits for its time."""
    result = _send(app, pool_id, {"task_type": "shell", "payload": {"command": "true"}}, countdown=6)

    eventually(lambda: site.redis.zcard(keys.key("delayed", prefix="", of=pool_id)))
    assert site.task(result.id).attempts == 0
    result.get(timeout=30)
    task = site.task(result.id)
    assert task.started_at is not None
    assert task.created_at is not None
    assert (task.started_at - task.created_at).total_seconds() > 6 - SEEN_SECONDS

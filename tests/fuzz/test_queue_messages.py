"""Whatever stands in a pool's queue becomes an outcome or a dead letter, and the worker group goes on."""

from __future__ import annotations

import json
import os
import pickle
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mahavishnu_pools import names
from mahavishnu_pools.store import keys
from tests.fixtures.groups import GroupProcess, Site
from tests.fuzz.material import deep, dumped, values
from tests.waiting import eventually

HEADERS = ("id", "task", "group", "retries", "timelimit", "expires", "root_id", "lang", "chord", "argsrepr", "shadow")
PROPERTIES = ("body_encoding", "delivery_info", "priority", "correlation_id", "delivery_tag", "reply_to")
TOP = ("body", "content-type", "content-encoding", "headers", "properties")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def message(task_id: str, task: str = names.RUN_TASK, *, body: Any = None, **more: Any) -> dict[str, Any]:
    spec = {"task_type": "shell", "payload": {"command": ["true"]}}
    text = dumped([[spec], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": b64encode(text.encode()).decode() if body is None else body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": task_id, "retries": 0, "group": None, "eta": None},
        "properties": {"body_encoding": "base64", "delivery_info": {}, "priority": 0, "delivery_tag": task_id},
        **more,
    }


ids = st.integers(0, 10**12).map(lambda number: f"fuzz-{number}")
tasks = st.sampled_from(
    [names.RUN_TASK, "celery.backend_cleanup", "celery.ping", "nobody.knows", "celery.chord_unlock"]
)
bodies = st.none() | values.map(lambda v: b64encode(dumped(v).encode()).decode()) | deep | st.text(max_size=30)


@st.composite
def raw_messages(draw: st.DrawFn) -> bytes:
    """Draw a message that is right but for one place, or no message at all."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=80))
    if kind == 1:
        return draw(values.map(dumped) | deep).encode("utf-8", "surrogatepass")
    made = message(draw(ids), draw(tasks), body=draw(bodies))
    place, fields = draw(
        st.sampled_from([(made, TOP), (made["headers"], HEADERS), (made["properties"], PROPERTIES), (made, ())])
    )
    if fields:
        name = draw(st.sampled_from(fields))
        if draw(st.booleans()):
            place.pop(name, None)
        else:
            place[name] = draw(values)
    return dumped(made).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def pool(site: Site) -> str:
    return site.pool(workers=2)


@pytest.fixture(scope="module")
def group(site: Site, pool: str) -> GroupProcess:
    return site.group(pool)


def assert_the_group_goes_on(site: Site, group: GroupProcess) -> None:
    """Everything pushed before has left queue and lease, and the next task runs."""
    task = site.shell(group.pool_id, "echo still here")
    assert site.outcome(task, within=30).output == "still here\n"
    queue, held = names.queue_of(group.pool_id), keys.key("claims", prefix="", of=group.lease)
    eventually(lambda: (site.redis.llen(queue), site.redis.hlen(held)), until=lambda seen: seen == (0, 0), within=30)
    assert group.process.poll() is None


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)  # bounded by the waits inside
@given(st.lists(raw_messages(), min_size=10, max_size=30))
def test_no_message_stops_a_worker_group(site: Site, group: GroupProcess, messages: list[bytes]) -> None:
    queue = names.queue_of(group.pool_id)
    site.redis.execute_command("LPUSH", queue, *messages)

    assert_the_group_goes_on(site, group)


def test_a_pickle_is_never_read(site: Site, group: GroupProcess, tmp_path: Path) -> None:
    made = tmp_path / "made-by-a-pickle"
    evil = pickle.dumps([[Evil(made)], {}, {}])
    forms = [
        ("application/x-python-serialize", "binary"),
        ("application/x-python-serialize", "utf-8"),
        ("application/json", "utf-8"),
        ("", "binary"),
    ]
    for number, (content, encoding) in enumerate(forms):
        for task in (names.RUN_TASK, "celery.ping"):
            odd = message(f"pickle-{task}-{number}", task, body=b64encode(evil).decode())
            odd |= {"content-type": content, "content-encoding": encoding}
            site.redis.lpush(names.queue_of(group.pool_id), json.dumps(odd))

    assert_the_group_goes_on(site, group)

    assert not made.exists()
    statuses = {site.task(f"pickle-{task}-{n}").status for n in range(4) for task in (names.RUN_TASK, "celery.ping")}
    assert statuses == {"dead"}


@pytest.mark.parametrize(
    "spoil",
    [
        {"body": "%%%"},
        {"body": b64encode(b"[]").decode()},
        {"body": b64encode(b'[{"0": 1}, {}, {}]').decode()},
        {"body": b64encode(b"[[1], {}, [1]]").decode()},
        {"body": b64encode(b"[" * 100_000).decode()},
        {"body": None},
    ],
    ids=["no base64", "empty", "arguments no list", "embed no mapping", "too deep", "no body"],
)
def test_a_message_that_cannot_be_read_is_dead_and_says_why(
    site: Site, group: GroupProcess, spoil: dict[str, Any]
) -> None:
    task_id = f"spoilt-{abs(hash(str(spoil)))}"
    odd = {**message(task_id), **spoil}
    odd["headers"] = {**odd["headers"], "id": task_id}
    site.redis.lpush(names.queue_of(group.pool_id), json.dumps(odd))

    result = site.outcome(task_id, within=30)

    assert result.status == "dead"
    assert result.error
    assert task_id in site.dead_letters()

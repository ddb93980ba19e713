"""Signed messages: with a key, workers run what was signed with it, and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, signature

from mahavishnu_pools import names
from mahavishnu_pools.broker.signing import HEADER, Signer
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.celery_app import make_app
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.tasks import cancel
from tests.fixtures.groups import Site, lines, site_on
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually
from workers.periodic import RECONCILE
from workers.runner import GroupContext

NEW, OLD = "a new key of some length", "an old key of some length"


@pytest.fixture
def signed_site(own_valkey_server: PrivateValkey, tmp_path: Path) -> Iterator[Site]:
    with site_on(own_valkey_server, tmp_path, message_signing_key=f"{NEW},{OLD}") as place:
        yield place


def spec(command: str) -> dict[str, Any]:
    return {"task_type": "shell", "payload": {"command": ["sh", "-c", command]}}


def app_with(site: Site, key: str | None) -> Any:
    settings = Settings(**{**site.settings.model_dump(), "message_signing_key": key})
    site.apps.append(make_app(settings, site.url))
    return site.apps[-1]


async def test_what_is_signed_runs_also_in_canvas_and_distributions(signed_site: Site, tmp_path: Path) -> None:
    site = signed_site
    files = [tmp_path / f"{number}.py" for number in range(3)]
    for path in files:
        path.write_text("print()\n")
    pool_id = site.pool()
    site.group(pool_id)
    app, queue = site.client(), names.queue_of(pool_id)
    steps = [
        signature(names.RUN_TASK, args=(spec(f"echo {word}"),), app=app, immutable=True).set(queue=queue)
        for word in ("one", "two")
    ]

    last = chain(*steps, app=app).apply_async()
    assert last.get(timeout=30)["output"] == "two\n"
    manager = PoolManager(settings=site.settings)
    try:
        found = await manager.distribute(
            {"task_type": "analyze", "payload": {"files": [str(path) for path in files]}}, strategy="map_reduce"
        )
    finally:
        await manager.close()
    assert found.successful == 3
    assert found.reduced is not None


def test_a_key_may_be_changed_while_both_are_known(signed_site: Site) -> None:
    pool_id = signed_site.pool()
    signed_site.group(pool_id)
    sent = [
        app_with(signed_site, key).send_task(names.RUN_TASK, args=[spec("echo hi")], queue=names.queue_of(pool_id))
        for key in (OLD, NEW)
    ]

    assert [signed_site.outcome(one.id).status for one in sent] == ["completed", "completed"]


def test_what_is_not_signed_or_signed_with_another_key_never_runs(signed_site: Site, tmp_path: Path) -> None:
    site, marks = signed_site, tmp_path / "marks"
    pool_id = site.pool()
    site.group(pool_id)
    queue = names.queue_of(pool_id)
    apps = [app_with(site, None), app_with(site, "somebody else's key"), site.stock()]

    sent = [app.send_task(names.RUN_TASK, args=[spec(f"echo ran >> {marks}")], queue=queue) for app in apps]

    found = [site.outcome(one.id) for one in sent]
    assert {one.status for one in found} == {"dead"}
    assert all("message_signing_key" in str(one.error) for one in found)
    assert not marks.exists()


def test_a_signed_message_that_was_changed_never_runs(signed_site: Site, tmp_path: Path) -> None:
    site, marks = signed_site, tmp_path / "marks"
    pool_id = site.pool()
    sent = site.client().send_task(names.RUN_TASK, args=[spec("true")], queue=names.queue_of(pool_id))
    [queue] = [key for key in site.redis.keys("*") if site.redis.type(key) == "list"]
    message = json.loads(site.redis.lpop(queue))
    body = json.loads(base64.b64decode(message["body"]))
    body[0][0] = spec(f"echo ran >> {marks}")
    message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    site.redis.lpush(queue, json.dumps(message))

    site.group(pool_id)

    assert site.outcome(sent.id).status == "dead"
    assert not marks.exists()


def test_what_follows_an_unsigned_task_that_ended_unrun_is_not_sent(signed_site: Site, tmp_path: Path) -> None:
    site, marks = signed_site, tmp_path / "marks"
    pool_id = site.pool()
    queue = names.queue_of(pool_id)

    def ended(app: Any, word: str) -> None:
        then = signature(names.RUN_TASK, args=(spec(f"echo {word} >> {marks}"),), app=app, immutable=True)
        first = signature(names.RUN_TASK, args=(spec("true"),), app=app, immutable=True).set(queue=queue)
        body = first.clone().set(queue=queue)
        body.link_error(then.set(queue=queue))
        made = chord([first, first.clone()], app=app)(body)
        for member in made.parent.children:
            site.run(cancel(member.id, reason="Nobody wants it.", result_ttl=60))

    ended(app_with(site, None), "forged")
    ended(app_with(site, OLD), "signed")
    site.group(pool_id)

    # They are told in the order in which they ended.
    eventually(lambda: lines(marks), until=lambda found: found == ["signed"])


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({}, True),
        ({"task": "mahavishnu.periodic_not"}, False),
        ({"group": "g"}, False),
        ({"args": [1]}, False),
        ({"callbacks": [{"task": names.RUN_TASK}]}, False),
    ],
)
def test_beats_bare_calls_need_no_signature(change: dict[str, Any], runs: bool, tmp_path: Path) -> None:
    embed = {"callbacks": change.get("callbacks"), "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([change.get("args", []), {}, embed])
    headers = {"task": change.get("task", RECONCILE), "id": "t", "group": change.get("group")}
    message = {
        "body": base64.b64encode(body.encode()).decode(),
        "headers": headers,
        "properties": {"body_encoding": "base64"},
    }

    assert context_with(Signer([b"key"])).may_run(message) is runs


def context_with(signer: Signer) -> GroupContext:
    from workers.executors.interface import Limits

    return GroupContext("p", "n", None, {}, None, (), Limits(), (), 60.0, signer=signer)


def test_a_signature_is_over_body_and_headers_and_nothing_else() -> None:
    signer = Signer([b"one", b"two"])
    headers = {"id": "t", "task": "x", "eta": None}
    made = {"body": "abc", "headers": {**headers, HEADER: signer.sign("abc", headers)}, "properties": {"priority": 1}}

    assert signer.accepts(made)
    assert Signer([b"zero", b"one"]).accepts({**made, "properties": {}})
    assert not Signer([b"two"]).accepts(made)
    assert not signer.accepts({**made, "body": "abd"})
    assert not signer.accepts({**made, "headers": {**made["headers"], "eta": "2026"}})
    for wrong in (None, 5, "", "é", "0" * 64):
        assert not signer.accepts({**made, "headers": {**headers, HEADER: wrong}})

"""A user's own Celery app after ``install(app)``: its tasks, with all that Celery can do, on a real worker group."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from celery import chain, chord, group

from mahavishnu_pools import names
from mahavishnu_pools.store import keys
from tests.fixtures.groups import ROOT, Site, lines
from tests.waiting import eventually


class Shop(NamedTuple):
    """The user's module as its web process has it, and its pool."""

    module: ModuleType
    pool: str
    pool_id: str
    site: Site
    diary: Path


@pytest.fixture(scope="module")
def shop(site: Site) -> Iterator[Shop]:
    pool_id = site.pool("orders", workers=4, celery_app="tests.fakes.shop:app")
    env = {"SHOP_URL": site.url, "SHOP_DIR": str(site.directory)}
    site.group(pool_id, env=env)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        sys.modules.pop("tests.fakes.shop", None)
        module = importlib.import_module("tests.fakes.shop")
        site.apps.append(module.app)
        yield Shop(module, "orders", pool_id, site, site.directory)
        sys.modules.pop("tests.fakes.shop", None)


def _claims(shop: Shop) -> int:
    record = shop.site.read_pool(shop.pool_id)
    return record.running + record.queued


def _nothing_left(shop: Shop) -> None:
    """Every claim has ended and every message is gone."""
    eventually(lambda: _claims(shop), until=lambda count: count == 0)


def test_tasks_run_by_pool_by_selector_and_by_affinity(shop: Shop) -> None:
    add = shop.module.add

    sent = [
        add.apply_async((1, 2), pool="orders"),
        add.apply_async((3, 4), pool_selector="least_loaded"),
        add.apply_async((5, 6), pool_affinity="customer-7"),
        add.apply_async((7, 8), queue=names.queue_of(shop.pool_id)),
    ]

    assert [result.get(timeout=30) for result in sent] == [3, 7, 11, 15]
    task = shop.site.outcome(sent[0].id)
    assert (task.status, task.value, task.pool_id) == ("completed", 3, shop.pool_id)
    _nothing_left(shop)


def test_a_retry_with_countdown_is_seen_and_runs_again_under_the_same_id(shop: Shop) -> None:
    """Point 5: Celery's own retry, with the claim given back in the step that brings the new message."""
    result = shop.module.flaky.apply_async(("flaky",), {"failures": 1, "countdown": 3}, pool="orders")

    eventually(lambda: result.state, until=lambda state: state == "RETRY")
    eventually(lambda: shop.site.task(result.id).status, until=lambda status: status == "retrying")
    assert result.get(timeout=30) == {"retries": 1, "id": result.id}
    assert lines(shop.diary / "flaky") == ["0", "1"]
    assert shop.site.outcome(result.id).attempts == 2
    _nothing_left(shop)


def test_retries_without_countdown_never_meet_the_attempt_before(shop: Shop) -> None:
    """Point 5: a message that is republished before its claim has ended would end the next attempt's claim with it."""
    sent = [
        shop.module.flaky.apply_async((f"quick{n}",), {"failures": 4, "countdown": 0}, pool="orders") for n in range(10)
    ]

    assert [result.get(timeout=30)["retries"] for result in sent] == [4] * 10
    assert all(lines(shop.diary / f"quick{n}") == ["0", "1", "2", "3", "4"] for n in range(10))
    assert [shop.site.outcome(result.id).attempts for result in sent] == [5] * 10
    _nothing_left(shop)


def test_automatic_retries_end_with_the_failure(shop: Shop) -> None:
    result = shop.module.unreachable.apply_async(("unreachable",), pool="orders")

    with pytest.raises(ConnectionError, match="nobody there"):
        result.get(timeout=30)
    assert lines(shop.diary / "unreachable") == ["ran", "ran"]
    assert shop.site.outcome(result.id).error == "ConnectionError: nobody there"
    _nothing_left(shop)


def test_a_countdown_waits_in_the_store(shop: Shop) -> None:
    """Point 2: nothing waits in Celery's timers, which a lost connection clears."""
    result = shop.module.add.apply_async((1, 1), pool="orders", countdown=3)

    eventually(lambda: shop.site.redis.zcard(keys.key("delayed", prefix="", of=shop.pool_id)))
    assert shop.site.task(result.id).attempts == 0
    assert result.get(timeout=30) == 2


def test_chains_and_groups_run_through(shop: Shop) -> None:
    add = shop.module.add
    steps = chain(add.s(1, 2).set(pool="orders"), add.s(10).set(pool="orders"), add.s(100).set(pool="orders"))
    several = group(add.s(n, n).set(pool="orders") for n in range(5))

    assert steps.apply_async().get(timeout=30) == 113
    assert several.apply_async().get(timeout=30) == [0, 2, 4, 6, 8]
    _nothing_left(shop)


def test_a_chord_calls_its_body_once_with_every_result(shop: Shop) -> None:
    assert shop.module.sums("orders").apply_async().get(timeout=30) == 20
    _nothing_left(shop)


def test_a_chord_may_hold_run_task(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point 4: a run_task that something follows goes through Celery, so that Celery does what follows."""
    run_task = shop.module.app.tasks[names.RUN_TASK]
    specs = [{"task_type": "shell", "payload": {"command": f"echo {n}"}} for n in (1, 2)]
    header = [run_task.s(spec).set(pool="orders") for spec in specs] + [shop.module.add.s(3, 4).set(pool="orders")]

    body = shop.module.total.s().set(pool="orders")

    assert chord(header)(body).get(timeout=30) == 10
    _nothing_left(shop)


def test_a_run_task_that_is_followed_keeps_its_log_and_record(shop: Shop) -> None:
    run_task = shop.module.app.tasks[names.RUN_TASK]
    spec = {"task_type": "shell", "payload": {"command": ["sh", "-c", "echo out; echo err >&2"]}}
    after = shop.module.write.s(name="followed").set(pool="orders")

    result = run_task.apply_async((spec,), pool="orders", link=after)

    assert result.get(timeout=30)["output"] == "out\n"
    eventually(lambda: lines(shop.diary / "followed"))
    log = shop.site.redis.xrange(keys.key("log", prefix="", of=result.id))
    assert {fields["s"]: fields["t"] for _, fields in log} == {"stdout": "out\n", "stderr": "err\n"}
    assert shop.site.outcome(result.id).ok


def test_a_run_task_alone_has_its_own_type_in_its_record(shop: Shop) -> None:
    run_task = shop.module.app.tasks[names.RUN_TASK]
    spec = {"task_type": "shell", "payload": {"command": "true"}}
    followed = shop.module.add.s(1, 1).set(pool="orders")

    alone = run_task.apply_async((spec,), pool="orders")
    parts = run_task.apply_async((spec,), pool="orders", link=followed.set(immutable=True))

    assert alone.get(timeout=30)["status"] == parts.get(timeout=30)["status"] == "completed"
    kinds = [shop.site.redis.hget(keys.key("task", prefix="", of=one.id), "type") for one in (alone, parts)]
    assert kinds == ["shell", f"celery:{names.RUN_TASK}"]
    assert json.loads(shop.site.redis.hget(keys.key("task", prefix="", of=alone.id), "spec") or "") == spec


def test_a_failing_part_fails_the_chord_once(shop: Shop) -> None:
    header = [shop.module.add.s(1, 1).set(pool="orders"), shop.module.fail.s("broken").set(pool="orders")]

    with pytest.raises(Exception, match="broken"):
        chord(header)(shop.module.total.s().set(pool="orders")).get(timeout=30)
    _nothing_left(shop)


def test_links_are_called_after_success_and_after_failure(shop: Shop) -> None:
    module = shop.module
    link = module.write.s(name="linked").set(pool="orders")
    link_error = module.errback.s(name="failed").set(pool="orders")

    module.add.apply_async((1, 1), pool="orders", link=link)
    module.fail.apply_async(("bad",), pool="orders", link_error=link_error)

    eventually(lambda: lines(shop.diary / "linked"))
    eventually(lambda: lines(shop.diary / "failed"), until=lambda found: found == ["ValueError: bad"])
    _nothing_left(shop)


def test_a_task_that_raises_has_failed_for_both(shop: Shop) -> None:
    result = shop.module.fail.apply_async(("no stock",), pool="orders")

    with pytest.raises(ValueError, match="no stock"):
        result.get(timeout=30)
    task = shop.site.outcome(result.id)
    assert (task.status, task.error) == ("failed", "ValueError: no stock")


def test_an_ignored_result_ends_the_claim_too(shop: Shop) -> None:
    """Point 5: ``store_result`` is not called then, so the claim must not hang on it."""
    result = shop.module.silent.apply_async(("silent",), pool="orders")

    assert shop.site.outcome(result.id).ok
    assert result.state == "PENDING"
    _nothing_left(shop)


def test_a_result_that_is_no_json_is_a_failure(shop: Shop) -> None:
    result = shop.module.unserialisable.apply_async(pool="orders")

    with pytest.raises(Exception, match="object"):
        result.get(timeout=30)
    assert shop.site.outcome(result.id).status == "failed"
    _nothing_left(shop)


def test_reject_with_requeue_runs_again_and_without_is_a_dead_letter(shop: Shop) -> None:
    again = shop.module.reject_once.apply_async(("again",), pool="orders")
    never = shop.module.reject.apply_async(("never",), pool="orders")

    assert again.get(timeout=30) == "done"
    assert lines(shop.diary / "again") == ["ran", "ran"]
    assert shop.site.outcome(never.id).status == "dead"
    assert lines(shop.diary / "never") == ["ran"]
    assert never.id in shop.site.dead_letters()
    _nothing_left(shop)


def test_ignore_ends_the_claim_without_a_result(shop: Shop) -> None:
    result = shop.module.ignore.apply_async(("ignored",), pool="orders")

    assert shop.site.outcome(result.id).status == "completed"
    assert result.state == "PENDING"
    _nothing_left(shop)


def test_a_task_that_replaces_itself_has_the_result_of_the_other(shop: Shop) -> None:
    assert shop.module.replaced.apply_async((20, 22), pool="orders").get(timeout=30) == 42
    _nothing_left(shop)


def test_early_acknowledgement_ends_nothing_before_the_task(shop: Shop) -> None:
    result = shop.module.early.apply_async(("early",), pool="orders")

    assert result.get(timeout=30) == "early"
    assert shop.site.outcome(result.id).value == "early"
    _nothing_left(shop)


def test_rate_limits_space_the_tasks(shop: Shop) -> None:
    sent = [shop.module.limited.apply_async(("limited", n), pool="orders") for n in range(5)]

    times = [result.get(timeout=30) for result in sent]

    assert sorted(lines(shop.diary / "limited")) == ["0", "1", "2", "3", "4"]
    assert max(times) - min(times) > 1  # two seconds, less what a busy machine starts the first one later
    _nothing_left(shop)


def test_an_expired_task_is_revoked_and_never_runs(shop: Shop) -> None:
    result = shop.module.write.apply_async((), {"name": "expired"}, pool="orders", expires=-5)

    eventually(lambda: result.state, until=lambda state: state == "REVOKED")
    assert lines(shop.diary / "expired") == []
    assert shop.site.outcome(result.id).status == "cancelled"


def test_time_limits_do_not_interrupt_threads(shop: Shop) -> None:
    """Threads cannot be killed: Celery's time limits are without effect on a pool, as with its own thread pool."""
    assert shop.module.slow.apply_async(pool="orders").get(timeout=30) == "in the end"


def test_priority_is_celerys_and_zero_comes_first(shop: Shop) -> None:
    """Point 12: the ten buckets of ours are Celery's priorities upside down."""
    results = [shop.module.hold.apply_async((f"hold{n}", "go"), pool="orders") for n in range(4)]
    eventually(lambda: [lines(shop.diary / f"hold{n}") for n in range(4)], until=all)

    later = [
        shop.module.write.apply_async((), {"name": "order", "text": str(priority)}, pool="orders", priority=priority)
        for priority in (9, 4, 0)
    ]
    buckets = [names.PRIORITY_SEPARATOR + "9", names.PRIORITY_SEPARATOR + "4", ""]
    queue = keys.key("queue", prefix="", of=shop.pool_id)
    assert [shop.site.redis.llen(queue + bucket) for bucket in buckets] == [1, 1, 1]
    (shop.diary / "go").touch()

    for result in [*results, *later]:
        result.get(timeout=30)
    assert sorted(lines(shop.diary / "order")) == ["0", "4", "9"]


BROKEN: list[dict[str, Any]] = [
    {"headers": {"timelimit": 5}},
    {"headers": {"eta": "yesterday"}},
    {"body": "bm90IGpzb24="},
    {"content-type": "application/x-python-serialize"},
    {"headers": {"group": "g", "task": names.RUN_TASK}, "body": "W10="},
]


def _known_task(changes: dict[str, Any]) -> tuple[str, str]:
    task_id = names.new_task_id()
    headers = {"id": task_id, "task": "tests.fakes.shop.add", "lang": "py", "retries": 0, "argsrepr": "()"}
    message = {
        "body": "W1sxLCAyXSwge30sIHt9XQ==",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {"body_encoding": "base64", "delivery_tag": "x", "correlation_id": task_id},
        **changes,
        "headers": {**headers, **changes.get("headers", {})},
    }
    return task_id, json.dumps(message)


def test_broken_messages_of_known_tasks_end_and_the_group_goes_on(shop: Shop) -> None:
    """Point 10: errors of our handlers are never taken for a lost connection."""
    messages = [_known_task(changes) for changes in BROKEN]
    for _, text in messages:
        shop.site.redis.lpush(keys.key("queue", prefix="", of=shop.pool_id), text)

    for task_id, _ in messages:
        eventually(lambda one=task_id: shop.site.redis.exists(keys.key("task", prefix="", of=one)))
        assert shop.site.outcome(task_id).done
    assert shop.module.add.apply_async((1, 1), pool="orders").get(timeout=30) == 2
    _nothing_left(shop)


SCRIPT = """
from celery import chord
from mahavishnu_pools.celery import run_task, signature
import tests.fakes.shop as shop
spec = {"task_type": "shell", "payload": {"command": "echo 20"}}
header = [signature(spec, pool="orders"), signature(spec, pool="orders")]
print(chord(header)(shop.total.s().set(pool="orders")).get(timeout=30))
print(run_task.apply_async(args=[spec], pool="orders").get(timeout=30)["output"].strip())
"""


def test_signatures_without_an_app_of_ones_own_fit_into_canvases(shop: Shop) -> None:
    env = {**os.environ, "MAHAVISHNU_REDIS_URL": shop.site.url}

    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True, timeout=40
    )

    assert found.stdout.split() == ["40", "20"], found.stderr
    _nothing_left(shop)

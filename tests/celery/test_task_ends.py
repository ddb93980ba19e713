"""How tasks end where Celery and pools meet: inside chains, revoked by an id alone, expired, given up."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

import pytest
from billiard.exceptions import WorkerLostError
from celery import Celery, Signature, chain, chord, signature
from celery.exceptions import ChordError, TaskRevokedError

from mahavishnu_pools import errors, names
from mahavishnu_pools.store import leases, pools, tasks
from tests.fixtures.groups import GroupProcess, Site, lines
from tests.waiting import eventually


class Shop(NamedTuple):
    """An app that sends to a pool of two workers which have loaded the user's tasks, and the pool's group."""

    app: Celery
    pool_id: str
    site: Site
    group: GroupProcess

    def task(self, name: str, /, **arguments: Any) -> Signature:
        """Return a user's task for the pool, by its name."""
        return signature(f"tests.fakes.shop.{name}", kwargs=arguments, app=self.app, immutable=True).set(pool="ends")

    def chained(self, command: str, **fields: Any) -> Any:
        """Send a chain that begins with a command; returns the result of its first task."""
        spec = {"task_type": "shell", "payload": {"command": ["sh", "-c", command]}, **fields}
        first = signature(names.RUN_TASK, args=(spec,), app=self.app).set(pool="ends")
        return chain(first, self.task("write", name="after")).apply_async().parent


@pytest.fixture(scope="module")
def shop(site: Site) -> Shop:
    pool_id = site.pool("ends", workers=2, celery_app="tests.fakes.shop:app")
    group = site.group(pool_id, env={"SHOP_URL": site.url, "SHOP_DIR": str(site.directory)})
    return Shop(site.client(), pool_id, site, group)


def test_a_cancelled_link_of_a_chain_is_cancelled_for_us_and_revoked_for_celery(shop: Shop) -> None:
    first = shop.chained("sleep 60")
    shop.site.running(first.id)

    shop.site.run(tasks.cancel(first.id, reason="no longer wanted", result_ttl=60))

    assert shop.site.outcome(first.id).status == "cancelled"
    assert first.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        first.get(timeout=30)
    assert lines(shop.site.directory / "after") == []


def test_a_link_that_runs_too_long_has_timed_out(shop: Shop) -> None:
    first = shop.chained("echo so far; sleep 60", timeout=3)

    task = shop.site.outcome(first.id)

    assert (task.status, task.output) == ("timeout", "so far\n")
    with pytest.raises(errors.TaskTimeout):
        first.get(timeout=30)


def test_a_link_runs_again_as_often_as_it_asks_and_then_the_chain_goes_on(shop: Shop) -> None:
    tries = shop.site.directory / "tries"

    first = shop.chained(f"echo x >> {tries}; [ $(wc -l < {tries}) -ge 2 ]", max_retries=2)

    assert shop.site.outcome(first.id).ok
    assert len(lines(tries)) == 2
    eventually(lambda: lines(shop.site.directory / "after"))
    (shop.site.directory / "after").unlink()


def test_messages_of_others_that_were_revoked_by_their_id_never_run(shop: Shop) -> None:
    site, queue = shop.site, names.queue_of(shop.pool_id)
    holding = [site.shell(shop.pool_id, f"while [ ! -e {site.directory}/go ]; do sleep 0.05; done") for _ in range(2)]
    for one in holding:
        site.running(one)
    stock = site.stock()
    theirs = stock.send_task("tests.fakes.shop.write", kwargs={"name": "theirs"}, queue=queue)
    spec = {"task_type": "shell", "payload": {"command": ["touch", str(site.directory / "ours")]}}
    ours = stock.send_task(names.RUN_TASK, args=[spec], queue=queue)

    stock.control.revoke([theirs.id, ours.id])
    eventually(lambda: set(stock.control.inspect(timeout=0.5).revoked()[shop.group.node]) >= {theirs.id, ours.id})
    (site.directory / "go").touch()

    assert [site.outcome(one.id).status for one in (theirs, ours)] == ["cancelled"] * 2
    assert (theirs.state, ours.state) == ("REVOKED", "REVOKED")
    assert lines(site.directory / "theirs") == []
    assert not (site.directory / "ours").exists()
    assert not {theirs.id, ours.id} & site.dead_letters().keys()


def test_a_retry_keeps_the_time_after_which_a_task_is_worthless(shop: Shop) -> None:
    result = shop.task("late", name="late").apply_async(expires=4)

    assert shop.site.outcome(result.id, within=30).status == "cancelled"
    assert lines(shop.site.directory / "late") == ["True"]
    assert result.state == "REVOKED"


def test_a_chord_hears_of_a_member_that_expired_in_the_queue(shop: Shop) -> None:
    shop.site.run(pools.change_pool(shop.pool_id, status="paused"))
    members = [shop.task("write", name="m1"), shop.task("write", name="m2").set(expires=0.2)]

    body = chord(members, shop.task("write", name="body")).apply_async()
    expired_at = time.monotonic() + 0.5
    eventually(lambda: time.monotonic() > expired_at)
    shop.site.run(pools.change_pool(shop.pool_id, status="running"))

    with pytest.raises((ChordError, TaskRevokedError)):
        body.get(timeout=30)
    eventually(lambda: lines(shop.site.directory / "m1") == ["ran"])
    assert lines(shop.site.directory / "m2") == lines(shop.site.directory / "body") == []
    eventually(lambda: shop.site.read_pool(shop.pool_id).running == 0)


def test_a_chord_hears_of_a_member_that_was_cancelled_in_the_queue(shop: Shop) -> None:
    shop.site.run(pools.change_pool(shop.pool_id, status="paused"))
    header = [
        shop.task("write", name="c1"),
        shop.task("write", name="c2").set(countdown=60),
        shop.task("write", name="c3"),
    ]

    body = chord(header, shop.task("write", name="cbody")).apply_async()
    members = body.parent.results
    assert shop.site.run(tasks.cancel(members[1].id, reason="no longer wanted", result_ttl=60)) == "cancelled"
    assert shop.site.run(tasks.cancel_many([members[2].id], reason="neither", result_ttl=60)) == ["cancelled"]
    shop.site.run(pools.change_pool(shop.pool_id, status="running"))

    eventually(lambda: body.state == "FAILURE", within=30)
    assert [member.state for member in members] == ["SUCCESS", "REVOKED", "REVOKED"]
    assert shop.site.outcome(members[1].id).error == "no longer wanted"
    assert [lines(shop.site.directory / name) for name in ("c1", "c2", "c3", "cbody")] == [["ran"], [], [], []]
    eventually(lambda: not shop.site.redis.keys("mhv:untold:*") and not shop.site.redis.keys("mhv:telling:*"))


def test_a_chord_whose_pool_was_closed_hears_of_it_from_the_next_worker_of_its_app(shop: Shop, own_site: Site) -> None:
    app = "tests.fakes.shop:app"
    env = {"SHOP_URL": own_site.url, "SHOP_DIR": str(own_site.directory)}
    closed, client = own_site.pool("closed", workers=1, celery_app=app), own_site.client()

    def member(name: str) -> Signature:
        task = signature("tests.fakes.shop.write", kwargs={"name": name}, app=client, immutable=True)
        return task.set(pool="closed")

    errback = signature("tests.fakes.shop.errback", kwargs={"name": "told"}, app=client).set(pool="later")
    later = own_site.pool("later", workers=1, celery_app=app)
    body = chord([member("m1"), member("m2")], member("body").on_error(errback)).apply_async()
    own_site.run(pools.change_pool(closed, status="stopped"))
    while own_site.run(pools.empty_pool(closed, reason="its pool was closed", result_ttl=60)):
        pass
    own_site.run(pools.remove_pool(closed))
    assert body.state == "PENDING"
    own_site.group(later, env=env)

    eventually(lambda: body.state == "FAILURE", within=30)
    with pytest.raises((ChordError, TaskRevokedError), match="its pool was closed"):
        body.get(timeout=30)
    eventually(lambda: len(lines(own_site.directory / "told")) == 1)
    assert lines(own_site.directory / "m1") == lines(own_site.directory / "body") == []


def test_who_waits_for_a_task_that_was_given_up_is_told_so(shop: Shop) -> None:
    site = shop.site
    task_id = names.new_task_id()
    headers = {"id": task_id, "task": names.RUN_TASK}
    properties = {"body_encoding": "base64"}
    text = json.dumps({"body": "no base64!", "headers": headers, "properties": properties})
    site.redis.lpush(names.queue_of(shop.pool_id), text)

    assert site.outcome(task_id).status == "dead"
    with pytest.raises(errors.TaskDead):
        shop.app.AsyncResult(task_id).get(timeout=30)


def test_a_retry_that_comes_too_late_changes_nothing(own_site: Site) -> None:
    site = own_site
    pool_id = site.pool()
    app = site.client()
    task_id = app.send_task("users.task", queue=names.queue_of(pool_id)).id
    first, second = (
        leases.open_lease(name, pool_id=pool_id, node="n", pid=1, started=1.0, ttl=60) for name in ("one", "two")
    )
    assert site.run(first)
    assert site.run(second)
    site.run(leases.claim(leases.Claimant("one", pool_id, "w"), most=1, request="1", result_ttl=60))
    site.run(leases.reap("one", cause="node", result_ttl=60))
    claimed = site.run(leases.claim(leases.Claimant("two", pool_id, "w"), most=1, request="2", result_ttl=60))
    assert claimed is not None
    envelope = tasks.Envelope(task_id, "celery:users.task", spec="", bucket=4, prefix="new ", suffix="")

    assert site.run(tasks.republish(envelope, pool_id=pool_id, due=None, lease="one"))
    held = leases.Held("two", claimed.claims[0].number, task_id, pool_id)
    outcome = '{"status": "completed"}'
    assert site.run(leases.finish(held, status="completed", outcome=outcome, meta="", result_ttl=60)) == "ok"
    assert site.run(tasks.republish(envelope, pool_id=pool_id, due=None, lease="two"))

    assert site.task(task_id).status == "completed"
    assert site.read_pool(pool_id).queued == 0


@pytest.mark.parametrize("how", ["exit", "interrupt", "shutdown"])
def test_a_task_that_leaves_the_program_has_failed_once_and_everybody_is_told(shop: Shop, how: str) -> None:
    directory, errback = shop.site.directory, shop.task("errback", name=f"told-{how}")
    errback.immutable = False

    alone = shop.task("leave", name=how, how=how).apply_async(link_error=errback)
    members = [shop.task("leave", name=f"member-{how}", how=how), shop.task("add", x=1, y=1)]
    body = chord(members, shop.task("write", name=f"body-{how}")).apply_async()

    with pytest.raises(WorkerLostError, match=r"SystemExit|KeyboardInterrupt|WorkerShutdown"):
        alone.get(timeout=30)
    with pytest.raises((ChordError, WorkerLostError)):
        body.get(timeout=30)
    outcome = shop.site.outcome(alone.id)
    assert (outcome.status, outcome.attempts) == ("failed", 1)
    assert (outcome.error or "").startswith("WorkerLostError: ")
    eventually(lambda: lines(directory / f"told-{how}") != [])
    assert len(lines(directory / f"told-{how}")) == len(lines(directory / how)) == 1
    assert lines(directory / f"member-{how}") == ["ran"]
    assert shop.task("add", x=1, y=2).apply_async().get(timeout=30) == 3
    eventually(lambda: shop.site.read_pool(shop.pool_id).running == 0)
    assert shop.group.process.poll() is None


@pytest.mark.parametrize(
    ("how", "status", "celery", "why"),
    [
        ("retry", "cancelled", "RETRY", "sent itself on to the queue 'elsewhere', which is no pool's"),
        ("replace", "cancelled", "PENDING", "sent itself on to the queue 'elsewhere', which is no pool's"),
        ("bare", "failed", "RETRY", "without sending itself again"),
    ],
)
def test_a_task_that_goes_where_no_pool_is_was_no_success(
    shop: Shop, how: str, status: str, celery: str, why: str
) -> None:
    result = shop.task("elsewhere", how=how).apply_async()

    outcome = shop.site.outcome(result.id)

    assert outcome.status == status
    assert why in (outcome.error or "")
    assert result.state == celery
    queues = shop.site.redis.keys("elsewhere*")
    assert [shop.site.redis.llen(queue) for queue in queues] == ([] if how == "bare" else [1])
    assert how == "bare" or shop.site.redis.delete(*queues)


def test_a_claim_number_given_out_twice_ends_only_its_own_task(own_site: Site) -> None:
    """What a fail-over that lost the last writes can leave."""
    site = own_site
    pool_id = site.pool()
    mine, other = (site.shell(pool_id, "true") for _ in range(2))
    assert site.run(leases.open_lease("one", pool_id=pool_id, node="n", pid=1, started=1.0, ttl=60))
    claimed = site.run(leases.claim(leases.Claimant("one", pool_id, "w"), most=1, request="1", result_ttl=60))
    assert claimed is not None
    assert claimed.claims[0].task_id == mine
    wrong = leases.Held("one", claimed.claims[0].number, other, pool_id)

    assert site.run(leases.finish(wrong, status="completed", outcome="{}", meta="", result_ttl=60)) == "fenced"
    assert site.task(mine).status == "running"
    assert site.task(other).status == "queued"

"""Tasks that await approval: nobody runs them before, each decision has one answer, and who decided is told."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.store import approvals, batches, tasks
from mahavishnu_pools.store.approvals import Word
from tests.fakes.worker import FakeNode
from tests.fixtures.command_line import Cli
from tests.fixtures.groups import Site
from tests.fixtures.valkey import PrivateValkey
from tests.store.inspection import Check
from tests.store.world import RESULT_TTL, World
from tests.waiting import eventually, eventually_async

GATED = {"prompt": "x", "approval": "required"}
ANA = Word("ana", "", "request-1")


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p", workers=2)


def submitted(world: World, **fields: Any) -> str:
    (task_id,) = world.submit(**{**GATED, **fields})
    return task_id


def approve(world: World, task_id: str, pool: str, word: Word = ANA) -> Any:
    return world.run(approvals.approve(task_id, word, Choice("pool", pool=pool), result_ttl=RESULT_TTL))


def types(world: World, task_id: str) -> list[str]:
    entries = world.redis.xrange(world.key("events", "tasks"))
    return [fields["type"] for _, fields in entries if fields["task"] == task_id]


def test_a_task_that_awaits_approval_is_in_no_queue_and_takes_no_worker(world: World, pool: str) -> None:
    task_id = submitted(world)
    lease = world.lease(pool)

    assert world.claim(lease, pool, 10) == []
    assert (world.read_pool(pool).queued, world.loads()[pool]) == (0, 0)
    found = world.task(task_id)
    assert (found.status, found.done, found.pool_id) == (TaskStatus.AWAITING_APPROVAL, False, pool)
    assert found.approval is not None
    assert found.approval.decision == "awaiting"
    assert found.approval.expires_at is not None
    assert timedelta(days=6) < found.approval.expires_at - datetime.now(UTC) <= timedelta(days=7)
    assert world.run(approvals.list_awaiting(most=10)) == [task_id]
    assert world.redis.ttl(world.key("task", task_id)) == -1
    assert world.index_is_true()


def test_an_approved_task_runs_once_and_says_who_approved_of_it(world: World, pool: str) -> None:
    task_id = submitted(world, expires=3600)
    asked = world.task(task_id)

    decision = approve(world, task_id, pool, Word("ana", "looks good", "r1"))
    repeated = approve(world, task_id, pool, Word("ana", "looks good", "r1"))
    again = approve(world, task_id, pool, Word("bob", "", "r2"))

    assert (decision.pool_id, decision.again, repeated.again) == (pool, False, False)
    assert (again.again, again.by, again.reason) == (True, "ana", "looks good")
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool, 10)
    assert claim.task_id == task_id
    world.run(world.finish_call(world.held(lease, pool, claim)))
    found = world.task(task_id)
    assert (found.status, found.created_at) == (TaskStatus.COMPLETED, asked.created_at)
    assert found.approval is not None
    assert (found.approval.decision, found.approval.by, found.approval.reason) == ("approved", "ana", "looks good")
    assert types(world, task_id) == ["approval_asked", "approval_approved", "task_completed"]
    assert approve(world, task_id, pool).again
    assert not world.redis.exists(world.key("awaiting"), world.key("held", task_id))
    assert world.index_is_true()


def test_a_message_with_the_id_of_a_task_that_awaits_approval_starts_nothing(world: World, pool: str) -> None:
    task_id, lease = submitted(world), world.lease(pool)
    world.push_raw(pool, world.stock_message(task_id))

    assert world.claim(lease, pool, 10) == []

    assert world.task(task_id).status == TaskStatus.AWAITING_APPROVAL
    assert world.index_is_true()
    approve(world, task_id, pool)
    (claim,) = world.claim(lease, pool, 10)
    assert json.loads(claim.message)["headers"]["task"] == "mahavishnu.run_task"
    assert world.run(world.finish_call(world.held(lease, pool, claim))) == "ok"
    assert world.task(task_id).status == TaskStatus.COMPLETED


def test_a_refused_task_ends_with_a_status_and_a_reason_of_its_own(world: World, pool: str) -> None:
    task_id = submitted(world, idempotency_key="k")
    word = Word("ana", "too risky", "r1")

    decisions = [world.run(approvals.refuse(task_id, word, result_ttl=RESULT_TTL)) for _ in range(2)]
    again = world.run(approvals.refuse(task_id, Word("bob", "", "r2"), result_ttl=RESULT_TTL))

    assert [one.again for one in decisions] == [False, False]
    assert (again.again, again.by, again.reason) == (True, "ana", "too risky")
    found = world.task(task_id)
    assert (found.status, found.error, found.done) == ("refused", "It was refused by ana: too risky", True)
    assert (found.attempts, found.started_at) == (0, None)
    assert world.redis.pttl(world.key("task", task_id)) > 0
    assert world.redis.pttl(world.key("idem", "k")) > 0
    assert json.loads(world.redis.get(world.key("meta", task_id)))["status"] == "REVOKED"
    assert types(world, task_id) == ["approval_asked", "approval_refused", "task_refused"]
    with pytest.raises(errors.AlreadyDecided, match="was refused by ana before \\(too risky\\)"):
        approve(world, task_id, pool)
    assert world.read_pool(pool).counts["refused"] == 1


def test_what_was_decided_stays_decided(world: World, pool: str) -> None:
    approved, cancelled, plain = submitted(world), submitted(world), world.to(pool)[0]
    approve(world, approved, pool)
    assert world.run(tasks.cancel(cancelled, reason="no", result_ttl=RESULT_TTL)) == "cancelled"

    with pytest.raises(errors.AlreadyDecided, match="approved by ana"):
        world.run(approvals.refuse(approved, ANA, result_ttl=RESULT_TTL))
    for decide in (lambda: approve(world, cancelled, pool), lambda: refuse(world, cancelled)):
        with pytest.raises(errors.AlreadyDecided, match="cancelled before"):
            decide()
    for decide in (lambda: approve(world, plain, pool), lambda: refuse(world, plain)):
        with pytest.raises(errors.InvalidField, match="needs no approval"):
            decide()
    for decide in (lambda: approve(world, "task_none", pool), lambda: refuse(world, "task_none")):
        with pytest.raises(errors.TaskNotFound):
            decide()
    assert world.read_pool(pool).queued == 2
    assert not world.redis.exists(world.key("awaiting"), world.key("held", cancelled))
    assert world.index_is_true()


def refuse(world: World, task_id: str) -> Any:
    return world.run(approvals.refuse(task_id, ANA, result_ttl=RESULT_TTL))


@pytest.mark.parametrize("who", ["beat", "approve", "refuse"])
def test_what_nobody_approved_of_in_time_is_cancelled_whoever_looks_first(world: World, pool: str, who: str) -> None:
    late, early = submitted(world, approval_timeout=0.001), submitted(world)
    eventually(lambda: float(world.redis.zscore(world.key("awaiting"), late)) < float(world.redis.time()[0]))

    if who == "beat":
        assert world.run(approvals.expire_approvals(result_ttl=RESULT_TTL)) == 1
        assert world.run(approvals.expire_approvals(result_ttl=RESULT_TTL)) == 0
    else:
        with pytest.raises(errors.AlreadyDecided, match="not approved in time"):
            approve(world, late, pool) if who == "approve" else refuse(world, late)

    found = world.task(late)
    assert found.status == "cancelled"
    assert "approval_timeout" in str(found.error)
    assert world.task(early).status == "awaiting_approval"
    assert types(world, late) == ["approval_asked", "approval_expired", "task_cancelled"]


def test_the_wait_in_the_queue_begins_with_the_approval(world: World, pool: str) -> None:
    task_id = submitted(world, expires=0.05)
    submitted_at = world.redis.time()
    eventually(lambda: world.redis.time()[0] > submitted_at[0] + 1)

    approve(world, task_id, pool)

    key = world.key("task", task_id)
    assert float(world.redis.hget(key, "expires_at")) > submitted_at[0] + 1
    assert float(world.redis.hget(key, "created")) > submitted_at[0] + 1


def test_a_batch_counts_refused_tasks_as_failed_and_waits_for_undecided_ones(world: World, pool: str) -> None:
    first, second = world.submit(2, batch="b", **GATED)
    refuse(world, first)
    batch = world.run(batches.read_batch("b"))
    assert batch is not None
    assert (batch.total, batch.successful, batch.failed) == (2, 0, 1)
    assert world.redis.ttl(world.key("batch", "b")) == -1

    refuse(world, second)

    assert world.redis.ttl(world.key("batch", "b")) > 0


async def test_its_pool_is_chosen_when_it_is_approved(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool("mahavishnu", name="old", worker_type="terminal-claude")
    free = await manager.submit(GATED)
    strict = await manager.submit(GATED, pool="old")
    assert (free.held, free.new, (await manager.submit({"prompt": "y"})).held) == (True, True, False)
    await manager.close_pool("old")
    with pytest.raises(errors.NoPoolAvailable):
        await manager.approve(free.task_id, by="ana")
    new = await manager.spawn_pool("mahavishnu", name="new", worker_type="terminal-claude")

    decision = await manager.approve(free.task_id, by="ana")
    with pytest.raises(errors.PoolGone):
        await manager.approve(strict.task_id, by="ana")
    moved = await manager.approve(strict.task_id, by="ana", pool="new")

    assert (decision.pool_id, moved.pool_id) == (new, new)
    assert (await manager.result(free.task_id, wait_timeout=30)).pool_id == new
    assert (await manager.result(strict.task_id, wait_timeout=30)).ok


async def test_whoever_waits_gets_the_refusal_and_it_can_be_sent_again(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool("mahavishnu", name="p", worker_type="terminal-claude")
    waiting = asyncio.create_task(manager.route_task(GATED, wait_timeout=60))
    [one] = await eventually_async(lambda: manager.tasks(status=["awaiting_approval"]), within=30)

    decision = await manager.refuse(one.task_id, reason="no")

    assert "@" in str(decision.by)
    result = await waiting
    assert (result.status, result.task_id) == (TaskStatus.REFUSED, one.task_id)
    retried = await manager.retry([one.task_id])
    assert (await manager.task(retried.retried[one.task_id])).status == "awaiting_approval"
    for wrong in ({"by": " "}, {"by": "x" * 101}, {"reason": "x" * 1001}, {"by": "a\nb"}):
        with pytest.raises(errors.InvalidField):
            await manager.refuse(one.task_id, **wrong)
    for refused in ({"approval": "maybe"}, {"approval_timeout": 5}, {"approval": "required", "approval_timeout": -1}):
        with pytest.raises(errors.InvalidField):
            await manager.submit({"prompt": "x", **refused})


async def test_an_approval_outlives_a_restart_of_redis_and_is_given_once(own_valkey_server: PrivateValkey) -> None:
    world = World(own_valkey_server.url, "")
    world.store.timeout = 30.0
    pool = world.pool("p")
    task_id = submitted(world)
    own_valkey_server.kill()
    restart = asyncio.get_running_loop().run_in_executor(None, own_valkey_server.start)

    decision = await asyncio.to_thread(approve, world, task_id, pool)
    await restart

    assert decision.decision == "approved"
    assert world.read_pool(pool).queued == 1
    assert approve(world, task_id, pool, Word("bob", "", "r2")).by == "ana"
    world.store.close()


def test_a_message_with_a_gate_that_came_by_another_way_is_not_run(site: Site) -> None:
    pool_id = site.pool(worker_type="shell")
    site.group(pool_id)
    spec = {"task_type": "shell", "payload": {"command": "true"}, "approval": "required"}
    with pytest.raises(errors.InvalidField, match="approval"):
        site.client().tasks["mahavishnu.run_task"].apply_async([spec], queue=f"pool.{pool_id}")
    made = envelope(TaskSpec.model_validate(spec), task_id="task_sneaky", max_bytes=10_000)

    site.redis.lpush(f"pool.{pool_id}", f"{made.prefix}pool.{pool_id}{made.suffix}")

    found = site.outcome("task_sneaky", within=30)
    assert (found.status, found.attempts) == ("failed", 1)
    assert "needs an approval and has none" in str(found.error)


def test_people_approve_and_refuse(cli: Cli, pool_of_stack: str) -> None:
    def submit(*more: str) -> str:
        work = ("--task-type", "shell", "--payload", '{"command": "echo done"}', "--approval", "required")
        sent = cli.json("pools", "execute", pool_of_stack, *work, *more, "--no-wait")
        assert sent["status"] == "awaiting_approval"
        return str(sent["task_id"])

    first, second, third = submit(), submit("--approval-timeout", "3600"), submit("--approval-timeout", "0.001")
    listed = cli.json("pools", "tasks", "--status", "awaiting_approval")["tasks"]
    assert {first, second} <= {one["task_id"] for one in listed}
    assert "awaited until" in cli("pools", "task", first)

    [decision] = cli.json("pools", "approve", first, "--reason", "fine", "--by", "ana")["decisions"]
    assert (decision["decision"], decision["by"], decision["again"]) == ("approved", "ana", False)
    assert cli.json("pools", "task", first, "--follow")["output"] == "done\n"
    cli("pools", "refuse", second, "--reason", "not today", "--by", "ana")
    assert "refused by ana" in cli("pools", "task", second)
    assert cli.json("pools", "refuse", first, code=2)["error"]["code"] == "already_decided"
    assert cli.json("pools", "approve", "task_none", code=3)["error"]["code"] == "task_not_found"
    both = cli.json("pools", "approve", first, second, code=2)
    assert ([one["task_id"] for one in both["decisions"]], list(both["errors"])) == ([first], [second])
    # Beat ends what nobody has approved of.
    ended = eventually(
        lambda: cli.json("pools", "task", third), until=lambda one: one["status"] == "cancelled", within=40
    )
    assert ended["approval"]["decision"] == "expired"


@pytest.fixture
def pool_of_stack(cli: Cli, request: pytest.FixtureRequest) -> str:
    name = f"gate-{time.time_ns()}"
    cli("pools", "spawn", "--name", name, "--worker-type", "shell", "--min", "1")
    return name


async def test_an_mcp_client_decides(server: str, manager: PoolManager) -> None:
    async with McpClient(server) as client:
        sent = await client.call("pool_submit", {**GATED, "pool_id": "local"})
        other = await client.call("pool_submit", {**GATED, "pool_id": "local"})
        yes = await client.call("pool_approve", {"task_id": sent.value["task_id"], "by": "ana"})
        no = await client.call("pool_refuse", {"task_id": other.value["task_id"], "by": "ana", "reason": "no"})
        late = await client.call("pool_approve", {"task_id": other.value["task_id"], "by": "ana"})

    assert sent.value["status"] == "awaiting_approval"
    assert (yes.value["decision"], no.value["decision"], late.failed) == ("approved", "refused", True)
    assert (await manager.result(sent.value["task_id"], wait_timeout=30)).ok
    assert (await manager.task(other.value["task_id"])).status == "refused"


async def test_a_check_finds_nothing_wrong_with_tasks_that_await_approval(world: World, pool: str, look: Check) -> None:
    waiting, refused = submitted(world), submitted(world)
    refuse(world, refused)

    report = await look()

    assert [one for one in report.findings if one.subject in (waiting, refused, pool)] == []
    assert [one for one in report.findings if "held" in one.message or "awaiting" in one.message] == []

"""Tasks that come after others, on real worker groups: from the command line and Python; what is told; repairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.checks.run import check
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode
from tests.fixtures.command_line import Cli
from tests.fixtures.groups import Site


def shell(command: str, **more: Any) -> dict[str, Any]:
    return {"task_type": "shell", "payload": {"command": command, "shell": True}, **more}


def lines(path: Path, *tasks: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return str(path)


def test_a_file_of_tasks_runs_as_the_graph_it_describes(cli: Cli, pool: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    file = lines(
        tmp_path / "tasks.jsonl",
        shell(f'echo "$MAHAVISHNU_PARENTS" > {told}; echo last', name="last", after=["left", "right", 4]),
        shell("echo l1; exit 0", name="left", after=["first"]),
        shell("echo r1", name="right", after=["first"]),
        shell("echo f1", name="first"),
        shell("echo oops; exit 3", on_parent_failure="run", name="bad"),
        shell("true", name="never", after=["bad"]),
        shell("true", name="refused", after=["bad"], on_parent_failure="fail"),
    )

    batch = cli.json("pools", "submit", "--file", file, "--pool", pool, "--wait", code=1)

    found = {one["name"]: one for one in batch["items"]}
    assert {name: one["status"] for name, one in found.items()} == {
        "last": "cancelled", "left": "completed", "right": "completed", "first": "completed", "bad": "failed",
        "never": "cancelled", "refused": "failed",
    }  # fmt: skip
    assert f"bad ({found['bad']['task_id']}), which it comes after, failed" in found["last"]["error"]
    assert found["first"]["finished_at"] <= found["left"]["started_at"]
    # What failed is sent again with what was skipped, in the same order.
    retried = cli.json("pools", "retry", "--batch", batch["batch_id"])["retried"]
    assert set(retried) == {found[name]["task_id"] for name in ("last", "bad", "never", "refused")}
    again = cli.json("pools", "task", retried[found["last"]["task_id"]], "--follow", code=1)
    parents = [one["task_id"] for one in again["dependencies"]["parents"]]
    assert parents == [found["left"]["task_id"], found["right"]["task_id"], retried[found["bad"]["task_id"]]]
    assert "After" in cli("pools", "task", again["task_id"])


def test_a_task_may_come_after_any_whose_id_is_known(cli: Cli, pool: str) -> None:
    work = ("--pool", pool, "--task-type", "shell", "--payload")
    first = cli.json("pools", "execute", *work, '{"command": "sleep 600"}', "--no-wait")["task_id"]
    waits = ("--after", first, "--on-parent-failure", "run", "--no-wait")
    sent = cli.json("pools", "execute", *work, '{"command": "echo then"}', *waits)
    assert sent["status"] == "waiting"
    listed = cli.json("pools", "tasks", "--status", "waiting")["tasks"]
    assert sent["task_id"] in [one["task_id"] for one in listed]
    assert "1 of 1 tasks" in cli("pools", "task", sent["task_id"])

    cli("pools", "cancel", first)

    assert cli.json("pools", "task", sent["task_id"], "--follow")["output"] == "then\n"
    assert (
        cli.json("pools", "execute", *work, '{"command": "true"}', "--after", "task_none", code=2)["error"]["code"]
        == "invalid_field"
    )


def test_a_file_that_is_no_graph_is_refused_and_nothing_of_it_is_sent(cli: Cli, pool: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "tasks.jsonl", shell("true", name="a", after=["b"]), shell("true", name="b", after=["a"]))

    assert (
        "a (line 1) after b (line 2) after a (line 1)"
        in cli.json("pools", "submit", "--file", file, code=2)["error"]["message"]
    )

    assert cli.json("pools", "tasks", "--pool", pool)["tasks"] == []


async def test_an_mcp_client_sends_a_graph(server: str, manager: PoolManager) -> None:
    async with McpClient(server) as client:
        tasks = [{"prompt": "second", "after": ["a"]}, {"prompt": "first", "name": "a"}]
        sent = await client.call("pool_submit_many", {"pool_id": "local", "tasks": tasks})
        ids = sent.value["task_ids"]
        third = await client.call("pool_submit", {"prompt": "third", "after": [ids[0]], "pool_id": "local"})
        told = await client.call("pool_task", {"task_id": third.value["task_id"], "wait_seconds": 60})
        cycle = await client.call("pool_submit_many", {"tasks": [{"prompt": "x", "after": [0]}]})

    assert third.value["status"] == "waiting"
    found = told.value["task"]
    assert (found["status"], found["output"]) == ("completed", "third")
    assert found["dependencies"]["parents"] == [{"task_id": ids[0], "status": "completed"}]
    assert "comes after itself" in cycle.text


async def test_a_check_finds_who_was_forgotten_and_has_it_go_on(
    manager: PoolManager, node: FakeNode, quick_settings: Settings
) -> None:
    await manager.spawn_pool("mahavishnu", name="p", worker_type="terminal-claude")
    first = await manager.submit({"prompt": "hold"}, pool="p")
    sent = [await manager.submit({"prompt": "x", "after": [first.task_id]}) for _ in range(3)]
    ids = [one.task_id for one in sent]
    store, prefix = node.store, node.store.prefix
    assert [one.waiting for one in sent] == [True] * 3
    assert not (await check(store, quick_settings, part="state")).found.get("task_stranded")

    await store.redis.zrem(f"{prefix}mhv:children:{first.task_id}", ids[0])
    await store.redis.delete(f"{prefix}mhv:held:{ids[1]}")
    found = await check(store, quick_settings, part="state", repair=True)
    node.release()

    assert (found.found["task_stranded"], found.repaired["task_stranded"]) == (2, 2)
    results = {result.task_id: result async for result in manager.results(ids, wait_timeout=120)}
    assert [results[one].status for one in ids] == ["completed", "failed", "completed"]
    assert "message was lost" in str(results[ids[1]].error)
    assert not (await check(store, quick_settings, part="state")).found.get("task_stranded")


async def test_what_comes_after_an_expired_task_is_not_sent_again_and_the_rest_is(
    manager: PoolManager, node: FakeNode
) -> None:
    await manager.spawn_pool("mahavishnu", name="p", worker_type="terminal-claude")
    gone, bad = await manager.submit_many([{"prompt": "x"}, {"prompt": "fail"}], pool="p")
    after = [{"prompt": "y", "after": [gone.task_id, bad.task_id]}, {"prompt": "z", "after": [bad.task_id]}]
    ids = [bad.task_id, *(one.task_id for one in await manager.submit_many(after, pool="p"))]
    assert {one.status.value async for one in manager.results(ids, wait_timeout=60)} == {"failed", "cancelled"}
    await node.store.redis.delete(f"{node.store.prefix}mhv:task:{gone.task_id}")

    again = await manager.retry(ids)

    assert again.skipped == {ids[1]: f"{gone.task_id}, which it comes after, has expired"}
    assert set(again.retried) == {ids[0], ids[2]}


def test_a_message_that_came_by_another_way_does_not_run_before_its_parents(site: Site) -> None:
    pool_id = site.pool(worker_type="shell")
    site.group(pool_id)
    spec = shell("true", after=["task_0123456789abcdef"])
    with pytest.raises(errors.InvalidField, match="after"):
        site.client().tasks["mahavishnu.run_task"].apply_async([spec], queue=f"pool.{pool_id}")
    made = envelope(TaskSpec.model_validate(spec), task_id="task_sneaky", max_bytes=10_000)

    site.redis.lpush(f"pool.{pool_id}", f"{made.prefix}pool.{pool_id}{made.suffix}")

    found = site.outcome("task_sneaky", within=30)
    assert (found.status, found.attempts) == ("failed", 1)
    assert "comes after other tasks, and its record does not say so" in str(found.error)

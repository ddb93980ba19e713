"""Following a task's output through a manager, against a node that writes it piece by piece."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.store.logs import write_log
from tests.fakes.worker import FakeNode

CONFIG = PoolConfig(name="p", worker_type="shell")


async def held_task(manager: PoolManager) -> str:
    """Return a task that waits on a paused pool."""
    pool_id = await manager.spawn_pool("mahavishnu", CONFIG)
    await manager.pause_pool(pool_id)
    return (await manager.submit({"prompt": "x"}, pool=pool_id)).task_id


async def test_output_is_seen_while_the_task_runs_and_ends_with_its_outcome(
    manager: PoolManager, node: FakeNode
) -> None:
    task_id = await held_task(manager)
    store = (await manager._connected()).store
    seen: list[str] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for piece in manager.follow(task_id):
            seen.append(piece.text)
            first.set()

    following = asyncio.create_task(follow())
    await store.run(write_log(task_id, [("stdout", "one")], ttl=60))
    async with asyncio.timeout(30):
        await first.wait()
    assert not following.done()

    await store.run(write_log(task_id, [("stdout", "two")], ttl=60))
    await manager.resume_pool("p")
    async with asyncio.timeout(30):
        await following

    assert seen == ["one", "two"]
    assert (await manager.task(task_id)).done


async def test_waiting_ends_when_the_caller_said(manager: PoolManager, node: FakeNode) -> None:
    task_id = await held_task(manager)

    with pytest.raises(errors.WaitTimeout):
        _ = [piece async for piece in manager.follow(task_id, wait_timeout=0.2)]

    assert (await manager.task(task_id)).status == "queued"


async def test_an_unknown_task_cannot_be_followed(manager: PoolManager, node: FakeNode) -> None:
    with pytest.raises(errors.TaskNotFound):
        _ = [piece async for piece in manager.follow("task_nope")]


async def test_who_is_cancelled_between_two_pieces_follows_no_longer(manager: PoolManager, node: FakeNode) -> None:
    # So Ctrl-C comes while a program prints what it got. The other way round, what is done after it still works.
    task_id = await held_task(manager)
    store = (await manager._connected()).store
    await store.run(write_log(task_id, [("stdout", "one")], ttl=60))
    status: list[str] = []

    async def follow() -> None:
        try:
            async for _ in manager.follow(task_id):
                current = asyncio.current_task()
                assert current is not None
                current.cancel()
        except asyncio.CancelledError:
            status.append((await manager.task(task_id)).status.value)
            raise

    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(follow())

    assert status == ["queued"]

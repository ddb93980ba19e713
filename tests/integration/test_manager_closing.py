"""A manager that is closed at any moment is closed soon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mahavishnu_pools import PoolConfig, PoolManager, Settings, bootstrap, errors
from tests.fakes.worker import FakeNode


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_closing_while_it_still_connects_does_not_hang(settings: Settings, steps: int) -> None:
    manager = PoolManager(settings=settings)
    await manager.connect()
    for _ in range(steps):
        await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await manager.close()


_SAID: list[Callable[[PoolManager], Awaitable[Any]]] = [
    lambda manager: manager.connect(),
    lambda manager: manager.spawn_pool("mahavishnu", name="p"),
    lambda manager: manager.submit({"prompt": "x"}),
    lambda manager: manager.submit_many([{"prompt": "x"}]),
    lambda manager: manager.result("task_0123456789abcdef", wait_timeout=1),
    lambda manager: manager.list_pools(),
    lambda manager: manager.cancel("task_0123456789abcdef"),
    lambda manager: manager.check(),
    lambda manager: manager.message_bus.publish({"type": "pool_created", "source_pool_id": "p", "payload": {}}),
]


@pytest.mark.parametrize("said", _SAID)
@pytest.mark.parametrize("used", [True, False])
async def test_a_closed_manager_does_nothing_more(
    settings: Settings, said: Callable[[PoolManager], Awaitable[Any]], used: bool
) -> None:
    manager = PoolManager(settings=settings)
    if used:
        await manager.connect()
    await manager.close()

    with pytest.raises(errors.ManagerClosed, match="This PoolManager was closed"):
        await said(manager)

    assert manager._parts is None
    await manager.close()


async def test_a_handle_of_a_closed_manager_does_nothing_more(manager: PoolManager, node: FakeNode) -> None:
    pool_id = await manager.spawn_pool("mahavishnu", PoolConfig(name="p", worker_type="shell"))
    pool = await manager.get_pool(pool_id)
    await manager.close()

    with pytest.raises(errors.ManagerClosed):
        await pool.execute({"prompt": "x"})


async def test_what_opens_while_the_manager_is_closed_is_closed_as_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, go_on = asyncio.Event(), asyncio.Event()
    opened: list[bootstrap.Parts] = []
    connect, closed = bootstrap.connect, list[bootstrap.Parts]()

    async def slow(given: Settings) -> bootstrap.Parts:
        going.set()
        await go_on.wait()
        opened.append(await connect(given))
        return opened[0]

    async def close(parts: bootstrap.Parts) -> None:
        closed.append(parts)
        await really(parts)

    really = bootstrap.Parts.close
    monkeypatch.setattr(bootstrap, "connect", slow)
    monkeypatch.setattr(bootstrap.Parts, "close", close)
    manager = PoolManager(settings=settings)
    verb = asyncio.create_task(manager.list_pools())
    await going.wait()

    await manager.close()
    go_on.set()

    with pytest.raises(errors.ManagerClosed):
        await verb
    assert closed == opened

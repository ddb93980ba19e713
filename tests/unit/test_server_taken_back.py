"""A distribution that its client takes back: what was begun for it ends, what others had begun before goes on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mahavishnu_pools.mcp_tools import Caller
from mahavishnu_pools.server import arguments
from mahavishnu_pools.server.task_tools import TaskTools
from mahavishnu_pools.server.waiting import Waiting
from tests.fakes.cli_manager import FakeManager


class Manager(FakeManager):
    """Notes what is cancelled, and that somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()
        self.wait = self._wait
        self.ended: list[str] = []

    async def _wait(self) -> None:
        self.waited_for.set()
        await asyncio.Event().wait()

    async def cancel(self, task_id: str, *, reason: str) -> str:
        self.ended.append(task_id)
        return "cancelled"

    async def cancel_batch(self, batch_id: str, *, reason: str) -> dict[str, int]:
        self.ended.append(batch_id)
        return {}


class Pools:
    """Gives the manager to the tools."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def manager(self) -> Manager:
        return self._manager


@pytest.mark.parametrize(("new", "ended"), [(True, ["batch_1"]), (False, ["task_2"])])
async def test_parts_that_had_been_submitted_before_go_on(new: bool, ended: list[str]) -> None:
    manager, waiting = Manager(), Waiting(asyncio.Event())
    manager.new = new
    tools = TaskTools(cast("Any", Pools(manager)), waiting)
    given = arguments.Distribute(task_type="x", payload={"items": [1, 2]}, idempotency_key="k")

    async def report(_: float, __: str) -> None:
        """Nobody follows."""

    call = asyncio.create_task(tools.distribute(given, Caller(report, lambda: True)))
    await manager.waited_for.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await waiting.close()

    assert manager.ended == ended

"""Waiting for outcomes on behalf of clients: with progress, not for ever, and with an end that they may ask for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from mahavishnu_pools import errors
from mahavishnu_pools.agent_lines import shown
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_tools import Caller
from mahavishnu_pools.schemas.task import TaskResult

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two reports of progress.
REPORT_SECONDS = 1.0

#: Characters of a task's last line of output that a report has.
LINE_CHARACTERS = 200


class Waiting:
    """Waits for clients. When the server stops, all that wait get what is known then."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._background: set[asyncio.Task[Any]] = set()

    async def outcome(self, manager: PoolManager, task_id: str, seconds: float, caller: Caller) -> TaskResult:
        """Return the task's outcome, or what is known of it after so many seconds.

        Raises:
            TaskNotFound: there is no such task.
        """
        async with self._reporting(caller, lambda: _told(manager, task_id, caller)):
            found = await self._within(manager.result(task_id, wait_timeout=seconds), seconds)
        return found if found is not None else await manager.task(task_id)

    async def gathered(self, gathering: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T | None:
        """Return what ``gathering`` returns, None when it is not there in time."""
        return await self._within(gathering(), seconds)

    @contextlib.asynccontextmanager
    async def sent(
        self, sending: Coroutine[Any, Any, T], caller: Caller, end: Callable[[T], Awaitable[object]]
    ) -> AsyncIterator[T]:
        """Give what ``sending`` sent. When the client takes the call back in here, or before, ``end`` ends it."""
        task = self._keep(sending)
        try:
            yield await asyncio.shield(task)
        except asyncio.CancelledError:
            if caller.gave_up():
                self._keep(_ended(task, end))
            raise

    async def close(self) -> None:
        """Wait for what was begun when nobody waited any more."""
        while self._background:
            await asyncio.wait(tuple(self._background))

    async def _within(self, waiting: Coroutine[Any, Any, T], seconds: float) -> T | None:
        result = asyncio.ensure_future(waiting)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([result, stopping], timeout=seconds + 1, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                return None
            try:
                return result.result()
            except errors.WaitTimeout:
                return None
        finally:
            stopping.cancel()
            if not result.done():
                result.cancel()

    @contextlib.asynccontextmanager
    async def _reporting(self, caller: Caller, follow: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        if not caller.wants_progress:
            yield
            return
        report = self._keep(follow())
        try:
            yield
        finally:
            report.cancel()

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _ended(sending: asyncio.Task[T], end: Callable[[T], Awaitable[object]]) -> None:
    try:
        await end(await sending)
    except errors.MahavishnuError as exc:
        logger.warning("What a client took back could not be cancelled: %s", exc, extra={"action": "cancel"})


async def _told(manager: PoolManager, task_id: str, caller: Caller) -> None:
    """Report the task's status and its last line of output until cancelled."""
    lines = _Lines()
    reading = asyncio.ensure_future(lines.read(manager, task_id))
    begun = time.monotonic()
    try:
        while True:
            with contextlib.suppress(errors.MahavishnuError):  # it is asked again
                status = (await manager.task(task_id)).status.value
                said = f": {lines.last}" if lines.last else ""
                await caller.report(time.monotonic() - begun, f"{status}{said}")
            await asyncio.sleep(REPORT_SECONDS)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class _Lines:
    """Keeps the last line a task printed."""

    def __init__(self) -> None:
        self.last = ""

    async def read(self, manager: PoolManager, task_id: str) -> None:
        async for piece in manager.follow(task_id):
            printed = [line for line in shown(piece.stream, piece.text).splitlines() if line.strip()]
            if printed:
                self.last = printed[-1].strip()[:LINE_CHARACTERS]

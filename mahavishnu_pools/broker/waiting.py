"""Waiting for the outcomes of tasks: one subscription a client, no polling, no thread or connection a task.

The scripts tell of a finished task on the channel of the client that submitted it, and send its result to the task's
own channel. The client is told the record itself when few tasks ended together, else their ids, which are a hint to
read the records; so is the task's own channel. After every (re)connection all that is waited for is read again, so an
outcome cannot be missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.broker.listener import Channel, Listener, cancel_asked
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.tasks import read_tasks, told_of

if TYPE_CHECKING:
    from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Records read in one call.
CHUNK = 500

#: Seconds between two tries to read while Redis does not answer.
READ_PAUSE = 0.5

Outcome = asyncio.Future[TaskResult]


class _Entry:
    """A task that is waited for, by how many, and whether its own channel is listened to."""

    __slots__ = ("future", "subscribed", "waiters")

    def __init__(self) -> None:
        self.future: Outcome = asyncio.get_running_loop().create_future()
        self.waiters = 0
        self.subscribed = False


class OutcomeWaiter:
    """Waits for outcomes. ``client`` is the name that the client's tasks are submitted with."""

    def __init__(self, store: AsyncStore, listener: Listener, *, client: str) -> None:
        self._store = store
        self._listener = listener
        self._channel = keys.key("client", prefix="", of=client)
        self._entries: dict[str, _Entry] = {}
        self._own: set[str] = set()
        self._due: set[str] = set()
        self._woken = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; does nothing when it has begun."""
        if self._reader is None:
            self._listener.add([self._channel], Channel(self._told, self._connected))
            self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Stop; who still waits is cancelled."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        for entry in self._entries.values():
            entry.future.cancel()

    def expect(self, task_ids: Iterable[str]) -> None:
        """Say that these tasks are about to be submitted by this client, so that its own channel tells of them."""
        self._own.update(task_ids)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Take back what ``expect`` said: these tasks were not submitted."""
        self._own.difference_update(task_ids)

    async def wait(self, task_id: str, *, within: float | None = None) -> TaskResult:
        """Return a task's outcome, waiting at most ``within`` seconds (None: for ever).

        Raises:
            WaitTimeout: it was not there in time; the task goes on.
            TaskNotFound: there is no such task.
        """
        try:
            return await _came(self._enter(task_id), task_id, within=within)
        finally:
            self._leave(task_id)

    async def stream(self, task_ids: Iterable[str], *, within: float | None = None) -> AsyncIterator[TaskResult]:
        """Yield outcomes as they come, waiting at most ``within`` seconds for all of them; raises like ``wait``."""
        wanted = list(dict.fromkeys(task_ids))
        finished: asyncio.Queue[Outcome] = asyncio.Queue()
        for task_id in wanted:
            self._enter(task_id).add_done_callback(finished.put_nowait)
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        try:
            for left in range(len(wanted), 0, -1):
                try:
                    async with asyncio.timeout_at(deadline):
                        future = await finished.get()
                except TimeoutError:
                    what = f"The outcome of task {wanted[0]}" if len(wanted) == 1 else f"The outcome of {left} tasks"
                    raise errors.WaitTimeout.of(what, within or 0.0) from None
                yield future.result()
        finally:
            for task_id in wanted:
                if task_id in self._entries:
                    self._entries[task_id].future.remove_done_callback(finished.put_nowait)
                self._leave(task_id)

    def _enter(self, task_id: str) -> Outcome:
        entry = self._entries.get(task_id)
        if entry is None:
            entry = self._entries[task_id] = _Entry()
            if task_id not in self._own:
                self._look(task_id)
        entry.waiters += 1
        return entry.future

    def _leave(self, task_id: str) -> None:
        entry = self._entries.get(task_id)
        if entry is None:
            return
        entry.waiters -= 1
        if entry.waiters == 0:
            del self._entries[task_id]
            if entry.subscribed:
                self._listener.remove([_channel_of(task_id)])
            if entry.future.done() and not entry.future.cancelled():
                entry.future.exception()  # whoever waited may have gone before it was looked at

    def _look(self, task_id: str) -> None:
        self._due.add(task_id)
        self._woken.set()

    def _told(self, news: str) -> None:
        try:
            told = told_of(news, self._entries)
        except ValueError:  # not by a script of ours: what there is to know is in the records
            logger.warning("News of tasks cannot be read; their records are", exc_info=True, extra={"action": "wait"})
            self._connected()
            return
        for task_id, result in told.items():
            if result is None:
                self._finished(task_id)
            else:
                self._settle([task_id], [result])

    def _finished(self, task_id: str) -> None:
        self._own.discard(task_id)
        if task_id in self._entries:
            self._look(task_id)

    def _connected(self) -> None:
        # News may have been missed: tasks nobody waits for now are looked up when somebody does.
        self._own.intersection_update(self._entries)
        self._due.update(self._entries)
        self._woken.set()

    async def _read(self) -> None:
        while not cancel_asked():
            await self._woken.wait()
            self._woken.clear()
            while self._due:
                some = [self._due.pop() for _ in range(min(CHUNK, len(self._due)))]
                try:
                    found = await self._store.run(read_tasks(some))
                except errors.Unavailable as exc:
                    logger.warning("Cannot read outcomes now: %s", exc, extra={"action": "wait"})
                    self._due.update(some)
                    await asyncio.sleep(READ_PAUSE)
                else:
                    self._settle(some, found)

    def _settle(self, task_ids: list[str], found: list[TaskResult | None]) -> None:
        for task_id, result in zip(task_ids, found, strict=True):
            entry = self._entries.get(task_id)
            if entry is None or entry.future.done():
                continue
            if result is None:
                entry.future.set_exception(errors.TaskNotFound.of(task_id))
            elif result.done:
                self._own.discard(task_id)
                entry.future.set_result(result)
            elif task_id not in self._own and not entry.subscribed:
                entry.subscribed = True
                self._listener.add([_channel_of(task_id)], self._own_channel(task_id))

    def _own_channel(self, task_id: str) -> Channel:
        return Channel(lambda _: self._finished(task_id), lambda: self._look(task_id))


async def _came(outcome: Outcome, task_id: str, *, within: float | None) -> TaskResult:
    try:
        async with asyncio.timeout(within):
            return await asyncio.shield(outcome)  # others may wait for it, too
    except TimeoutError:
        raise errors.WaitTimeout.of(f"The outcome of task {task_id}", within or 0.0) from None


def _channel_of(task_id: str) -> str:
    return keys.key("meta", prefix="", of=task_id)

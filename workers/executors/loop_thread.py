"""An event loop in a thread of its own, for bridges: worker threads begin calls there and wait for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class LoopThread:
    """The loop is made by ``start``, and may be closed by any thread, once for all.

    A forked process inherits no threads: to it one that was started before is closed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        #: Made by the process that starts it: a fork takes every thread that was made before for one that has ended.
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop

    def start(self, first: Coroutine[Any, Any, None], *, within: float, late: Exception | None) -> None:
        """Start the thread and await ``first`` there, for ``within`` seconds. The loop stays open whatever comes of it.

        When it takes longer, ``late`` is raised, None: it goes on there.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        try:
            self.call(first).result(within)
        except TimeoutError:
            if late is not None:
                raise late from None

    def call(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin work in the loop. Its future is cancelled when the loop is closed before the end, or was already."""
        if self._runs():
            with self._lock:
                # What is begun here comes before the end in the loop's queue, so that it ends with the rest.
                if not self._closed:
                    return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        never: Future[Result] = Future()
        never.cancel()
        never.set_running_or_notify_cancel()
        return never

    def tell(self, callback: Callable[[], object]) -> None:
        """Have a callback called in the loop; in one that is closed is nobody left who could be told."""
        if self._runs():
            with contextlib.suppress(RuntimeError):  # it was closed this moment
                self._loop.call_soon_threadsafe(callback)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]], *, within: float) -> None:
        """Cancel all calls, await ``last`` and end the thread, waiting ``within`` seconds; again: only wait."""
        if self._thread is None or not self._thread.is_alive():
            return
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
        self._thread.join(within)

    def _runs(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    # ── in the loop ──

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # What a call raises is its own affair but for these; nobody may go on waiting for the other calls.
            logger.exception("The loop of %s was ended by a call", self._name, extra={"action": "bridge"})
        finally:
            with self._lock:
                self._closed = True
            self._loop.run_until_complete(_cancel_others())
            self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await _cancel_others()
        try:
            await last()
        # The border of the thread: nobody reads what this returns.
        except Exception:
            logger.exception("The end of %s failed", self._name, extra={"action": "bridge"})
        finally:
            self._loop.stop()


async def lasting(work: Callable[[], Coroutine[Any, Any, None]], *, pause: float) -> None:
    """Do work that has no end, again ``pause`` seconds after whatever ends it."""
    while True:
        try:
            await work()
        # The border of the bridge: what nobody thought of must not end its work silently, for all tasks to come.
        except Exception:
            logger.exception("The bridge's %s is begun again", work.__qualname__, extra={"action": "bridge"})
        await asyncio.sleep(pause)


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

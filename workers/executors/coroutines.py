"""Runs one coroutine in the calling thread with a deadline and a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .interface import Cancellation

Result = TypeVar("Result")


#: Seconds that tasks a coroutine left running may take to clean up.
CLEAN_UP = 5.0


class CancelledByRequest(Exception):
    """The task was cancelled while its coroutine ran."""


def run_coroutine(coroutine: Coroutine[Any, Any, Result], *, timeout: float, cancellation: Cancellation) -> Result:
    """Run the coroutine on an event loop of its own; ``timeout`` is in seconds.

    A thread that resolves a host name is not waited for at the end: it may take the resolver's own long time-out.

    Raises:
        TimeoutError: it took too long.
        CancelledByRequest: the cancellation was requested.
        RuntimeError: the coroutine cancelled itself.
    """
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(_limited(coroutine, seconds=timeout))
        cancellation.on_cancel(lambda: _cancel(loop, task))
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        if cancellation.requested:
            raise CancelledByRequest from None
        raise RuntimeError("The coroutine was cancelled, and not because somebody asked for the task's end.") from None
    finally:
        _end_the_rest(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _end_the_rest(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what the coroutine left running, and let it clean up."""
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    if rest:
        loop.run_until_complete(asyncio.wait(rest, timeout=CLEAN_UP))


async def _limited(coroutine: Coroutine[Any, Any, Result], *, seconds: float) -> Result:
    async with asyncio.timeout(seconds):
        return await coroutine


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:
        # The loop is closed: the coroutine had ended before the cancel came.
        return

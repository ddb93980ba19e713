"""Runs one coroutine in the calling thread with a deadline and a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .interface import Cancellation

Result = TypeVar("Result")


class CancelledByRequest(Exception):
    """The task was cancelled while its coroutine ran."""


def run_coroutine(coroutine: Coroutine[Any, Any, Result], *, timeout: float, cancellation: Cancellation) -> Result:
    """Run the coroutine on an event loop of its own; ``timeout`` is in seconds.

    A thread that resolves a host name is not waited for at the end: it may take the resolver's own long time-out.

    Raises:
        TimeoutError: it took too long.
        CancelledByRequest: the cancellation was requested.
    """
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(_limited(coroutine, seconds=timeout))
        cancellation.on_cancel(lambda: _cancel(loop, task))
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise CancelledByRequest from None
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _limited(coroutine: Coroutine[Any, Any, Result], *, seconds: float) -> Result:
    async with asyncio.timeout(seconds):
        return await coroutine


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:
        # The loop is closed: the coroutine had ended before the cancel came.
        return

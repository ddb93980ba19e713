"""Waiting for a submit, also when the wait is cancelled: what was on its way is known first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def sent_whole(sending: Coroutine[Any, Any, T], *, interrupted: Callable[[T], Awaitable[None]]) -> T:
    """Return what was sent; when the wait for it is cancelled, what was on its way is known first, and told."""
    task = asyncio.create_task(sending)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await interrupted(task.result())
        raise

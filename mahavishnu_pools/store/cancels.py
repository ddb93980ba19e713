"""Cancellations that Python loses, found again."""

from __future__ import annotations

import asyncio


def cancels_asked() -> int:
    """Return how often the end of the running coroutine was asked for."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def cancel_if_asked(before: int) -> None:
    """Be cancelled when that was asked for since there were so many requests for it.

    ``asyncio.wait_for`` of Python 3.11, which redis-py writes with, loses a cancellation that comes when it is done; so
    would everybody who waits with ``asyncio.timeout``.
    """
    if cancels_asked() > before:
        raise asyncio.CancelledError

"""Waiting for a condition with a deadline: the only place in the tests that lets time pass in small steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

#: Pause between two looks: short against every deadline, long against the cost of a look.
STEP_SECONDS = 0.02

#: Deadline when a test names none; far above what a healthy machine needs, so that only real failures reach it.
DEFAULT_SECONDS = 30.0


def eventually(look: Callable[[], T], *, until: Callable[[T], object] = bool, within: float = DEFAULT_SECONDS) -> T:
    """Return what ``look`` sees as soon as ``until`` accepts it; an AssertionError inside ``look`` means "not yet".

    Raises:
        AssertionError: the deadline has passed; the message shows what was last seen.
    """
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            last = seen = look()
            if until(seen):
                return seen
        except AssertionError as exc:
            last = exc
        if time.monotonic() >= deadline:
            raise AssertionError(f"Not so after {within:g} s; last seen: {last!r}")
        time.sleep(STEP_SECONDS)


async def eventually_async(
    look: Callable[[], Awaitable[T]], *, until: Callable[[T], object] = bool, within: float = DEFAULT_SECONDS
) -> T:
    """Do what ``eventually`` does with a coroutine function.

    Raises:
        AssertionError: the deadline has passed; the message shows what was last seen.
    """
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            last = seen = await look()
            if until(seen):
                return seen
        except AssertionError as exc:
            last = exc
        if time.monotonic() >= deadline:
            raise AssertionError(f"Not so after {within:g} s; last seen: {last!r}")
        await asyncio.sleep(STEP_SECONDS)

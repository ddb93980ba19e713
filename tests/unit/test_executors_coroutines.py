"""Coroutines of handlers: their own tasks end with them, and only a request cancels them."""

from __future__ import annotations

import asyncio

import pytest

from workers.executors.coroutines import CancelledByRequest, run_coroutine
from workers.executors.interface import Cancellation


def test_what_a_coroutine_left_running_is_cancelled_and_cleans_up() -> None:
    ended: list[str] = []

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    async def handler() -> str:
        task = asyncio.create_task(beside())
        await asyncio.sleep(0)
        return task.get_name()

    assert run_coroutine(handler(), timeout=5, cancellation=Cancellation())
    assert ended == ["cleaned up"]


def test_a_cancellation_of_its_own_is_no_request() -> None:
    async def handler() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="not because somebody asked"):
        run_coroutine(handler(), timeout=5, cancellation=Cancellation())


def test_a_request_cancels() -> None:
    cancellation = Cancellation()

    async def handler() -> None:
        cancellation.cancel()
        await asyncio.Event().wait()

    with pytest.raises(CancelledByRequest):
        run_coroutine(handler(), timeout=5, cancellation=cancellation)


def test_the_time_is_limited() -> None:
    with pytest.raises(TimeoutError):
        run_coroutine(asyncio.Event().wait(), timeout=0.05, cancellation=Cancellation())

"""Ctrl-C while tasks are on their way to the store: nothing that arrives is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu_pools.cli.sending import sent_whole


async def test_what_arrives_after_the_interruption_is_known_to_who_takes_it_back() -> None:
    begun, arrived, taken_back = asyncio.Event(), asyncio.Event(), list[str]()

    async def sending() -> str:
        begun.set()
        await arrived.wait()
        return "batch"

    async def interrupted(sent: str) -> None:
        taken_back.append(sent)

    waiting = asyncio.create_task(sent_whole(sending(), interrupted=interrupted))
    await begun.wait()
    waiting.cancel()
    arrived.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert taken_back == ["batch"]


async def test_what_never_arrived_is_not_taken_back() -> None:
    begun, refused = asyncio.Event(), asyncio.Event()

    async def sending() -> str:
        begun.set()
        await refused.wait()
        raise OSError("away")

    async def interrupted(sent: str) -> None:
        raise AssertionError(f"{sent} was never there")

    waiting = asyncio.create_task(sent_whole(sending(), interrupted=interrupted))
    await begun.wait()
    waiting.cancel()
    refused.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting

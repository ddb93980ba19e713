"""A manager that is closed at any moment is closed soon."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu_pools import PoolManager, Settings


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_closing_while_it_still_connects_does_not_hang(settings: Settings, steps: int) -> None:
    manager = PoolManager(settings=settings)
    await manager.connect()
    for _ in range(steps):
        await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await manager.close()

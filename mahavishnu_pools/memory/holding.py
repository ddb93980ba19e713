"""Has a sink for one deliverer at a time; one that was killed loses it within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mahavishnu_pools import errors
from mahavishnu_pools.store import outbox
from mahavishnu_pools.store.client import AsyncStore

#: Seconds that somebody who asks waits for a sink: longer than a deliverer that was killed keeps it.
PATIENCE = outbox.HOLD_SECONDS + 5.0

#: What is told when the patience was in vain.
BUSY = "Another sync is delivering there now."

#: Seconds between two signs of life of a deliverer.
_SIGN_SECONDS = outbox.HOLD_SECONDS / 4

#: Seconds between two looks whether a sink is free.
_LOOK_SECONDS = 0.1


@asynccontextmanager
async def held(store: AsyncStore, sink: str, *, patient: bool) -> AsyncIterator[str | None]:
    """Have a sink, and give who has it as ``owner``; None: another one has it, and still had it after the patience.

    Raises:
        RedisUnavailable: it cannot be told who has it.
    """
    owner = secrets.token_hex(8)
    if not await _taken(store, sink, owner, deadline=time.monotonic() + (PATIENCE if patient else 0.0)):
        yield None
        return
    alive = asyncio.create_task(_keep(store, sink, owner))
    try:
        yield owner
    finally:
        alive.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await alive
        await store.run(outbox.release_sink(sink, owner=owner))


async def _taken(store: AsyncStore, sink: str, owner: str, *, deadline: float) -> bool:
    while not await store.run(outbox.take_sink(sink, owner=owner)):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


async def _keep(store: AsyncStore, sink: str, owner: str) -> None:
    while True:
        await asyncio.sleep(_SIGN_SECONDS)
        with contextlib.suppress(errors.RedisUnavailable):  # the next sign, or the confirmation, finds out
            await store.run(outbox.take_sink(sink, owner=owner))

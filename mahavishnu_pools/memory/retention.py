"""How long a memory is kept: what is older is deleted once a day."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from mahavishnu_pools import errors
from mahavishnu_pools.memory.index import MemoryIndex

logger = logging.getLogger(__name__)

#: Days between two times that old records are deleted.
EVERY_DAYS = 1.0

#: Seconds between two looks whether it is time.
LOOK_SECONDS = 3600.0

#: Where the index notes when it was done.
_CURSOR = "pruned"


def prune_when_due(index: MemoryIndex, keep_days: float, *, now: datetime | None = None) -> int:
    """Delete records older than so many days (0: none), unless that was done today; return how many there were.

    ``now`` is the clock (None: the system's).

    Raises:
        Unavailable: the index cannot be used.
    """
    moment = now or datetime.now(UTC)
    if keep_days <= 0 or not _due(index.cursor(_CURSOR), moment):
        return 0
    gone = index.prune(moment - timedelta(days=keep_days))
    index.put((), cursor=(_CURSOR, moment.isoformat()))
    if gone:
        logger.info("Deleted %d memories older than %g days", gone, keep_days, extra={"action": "prune_memory"})
    return gone


@asynccontextmanager
async def kept_for(index: MemoryIndex, keep_days: float) -> AsyncIterator[None]:
    """Delete what is too old now and from time to time, as long as the block runs."""
    pruning = asyncio.create_task(_prune_daily(index, keep_days), name="prune the memory")
    try:
        yield
    finally:
        pruning.cancel()
        with suppress(asyncio.CancelledError):
            await pruning


async def _prune_daily(index: MemoryIndex, keep_days: float) -> None:
    while True:
        try:
            await asyncio.to_thread(prune_when_due, index, keep_days)
        except errors.Unavailable as exc:
            logger.warning("Old memories were not deleted: %s", exc.message)
        await asyncio.sleep(LOOK_SECONDS)


def _due(told: str | None, now: datetime) -> bool:
    return told is None or now - datetime.fromisoformat(told) >= timedelta(days=EVERY_DAYS)

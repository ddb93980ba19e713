"""Follows a task's live log until the task has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.logs import START, LogPiece, read_log

#: Seconds one wait for the next piece lasts at most.
WAIT_SECONDS = 2.0


async def follow_log(store: AsyncStore, task_id: str, ended: asyncio.Future[Any]) -> AsyncIterator[LogPiece]:
    """Yield the pieces of a log, those to come too, until ``ended`` is done and nothing is left.

    A worker group writes a task's output before its outcome, so the last look after the end misses nothing.
    """
    after = START
    while True:
        over = ended.done()
        pieces = await store.run(read_log(task_id, after=after))
        for piece in pieces:
            yield piece
            after = piece.entry
        if not pieces and over:
            return
        if not pieces:
            await _next_piece(store, task_id, after, ended)


async def _next_piece(store: AsyncStore, task_id: str, after: str, ended: asyncio.Future[Any]) -> None:
    waiting = asyncio.ensure_future(store.wait_for_entry("log", of=task_id, after=after, seconds=WAIT_SECONDS))
    try:
        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

"""Standard input as lines that can be waited for without a thread, which nobody could interrupt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import IO


@contextlib.asynccontextmanager
async def own_input(limit: int) -> AsyncIterator[AsyncIterator[str] | None]:
    """Take standard input for the caller alone; others find it empty. None: it is a file, which needs no waiting.

    A line of more than ``limit`` bytes is replaced by one that is no message.
    """
    mine = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    try:
        lines = await _lines(mine, limit)
    except ValueError:  # asyncio waits for pipes, sockets and terminals only
        mine.close()
        yield None
        return
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    try:
        yield lines
    finally:
        mine.close()


async def _lines(source: IO[bytes], limit: int) -> AsyncIterator[str]:
    reader = asyncio.StreamReader(limit=limit)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    return _read(reader, limit)


async def _read(reader: asyncio.StreamReader, limit: int) -> AsyncIterator[str]:
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            line = f"more than {limit} bytes in one message\n".encode()
        if not line:
            return
        yield line.decode("utf-8", errors="replace")

"""The server: pools and memory of one data directory, as MCP tools, until it is told to stop."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_serving import Service, serve
from mahavishnu_pools.memory.index import MemoryIndex
from mahavishnu_pools.memory.retention import kept_for
from mahavishnu_pools.session_buddy.manager import PoolManager
from mahavishnu_pools.session_buddy.memory_tools import MemoryTools
from mahavishnu_pools.session_buddy.pool_tools import PoolTools

#: The port Session-Buddy is known by.
PORT = 8678

#: Below the data directory: what the server keeps.
DIRECTORY = "session-buddy"

_INSTRUCTIONS = "Pools of three workers that run prompts, and a memory that is searched by words, metadata and time."


async def run(
    data_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    tokens: Collection[str] = (),
    on_ready: Callable[[str], None] = lambda _: None,
    keep_days: float = 0.0,
) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` gets the URL once the server answers.

    Memories older than ``keep_days`` are deleted (0: none).

    Raises:
        InvalidField: the address cannot be used, or is not loopback and there is no token.
        Unavailable: another server has this directory, the memory cannot be used, or a package is missing.
    """
    directory = data_dir / DIRECTORY
    with _only_server(directory):
        index = MemoryIndex(directory / "memory.db")
        try:
            index.count()  # a memory that cannot be used is told now, not at the first record
            async with kept_for(index, keep_days), PoolManager(directory=directory) as manager:
                await serve(_service(manager, index, tokens), host=host, port=port, on_ready=on_ready)
        finally:
            index.close()


def _service(manager: PoolManager, index: MemoryIndex, tokens: Collection[str]) -> Service:
    def health() -> dict[str, JsonValue]:
        return {"pools": manager.pool_count}

    return Service(
        "session-buddy",
        version=version("mahavishnu-pools"),
        tools=(*PoolTools(manager).tools(), *MemoryTools(index).tools()),
        instructions=_INSTRUCTIONS,
        tokens=tokens,
        health=health,
    )


@contextmanager
def _only_server(directory: Path) -> Iterator[None]:
    """Keep a second server away from the directory: it would overwrite the list of pools."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        text = f"The directory {directory} cannot be used: {exc}. Name another with --data-dir."
        raise errors.Unavailable(text, path=str(directory)) from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            text = f"Another Session-Buddy runs on {directory}. Use it, stop it, or name another --data-dir."
            raise errors.Unavailable(text, path=str(directory)) from exc
        yield
    finally:
        os.close(lock)

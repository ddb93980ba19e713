"""A running MCP server of this project and a client of it; there may be none."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.cli.main import COMMANDS
from mahavishnu_pools.mcp_client.client import McpClient


@dataclass(frozen=True, slots=True)
class Server:
    """Calls a tool and returns its result; ``call`` is None where there is no server."""

    call: Callable[[str, dict[str, Any]], Awaitable[Any]] | None


@contextlib.asynccontextmanager
async def tool_caller() -> AsyncIterator[Server]:
    if "server" not in COMMANDS:
        yield Server(None)
        return
    with _started() as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().split()[-1]
        client = McpClient(url)
        try:
            yield Server(lambda name, arguments: client.call(name, arguments))
        finally:
            await client.close()
            process.terminate()
            process.wait(timeout=30)


def _started() -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "mahavishnu_pools.cli.main", "server", "--port", "0"]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

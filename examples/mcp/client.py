"""Make a pool, run a command on it and look at the pools, with the official MCP client.

The argument is the URL of a server that runs, such as http://127.0.0.1:8680/mcp. Without one this starts a server of
its own, over standard input and output.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(url: str | None) -> str | None:
    """Return what went wrong."""
    # The client hands few variables on by itself; MAHAVISHNU_DATA_DIR, if it is set, says which stack is meant.
    own = StdioServerParameters(command="mahavishnu", args=["server", "--stdio"], env=dict(os.environ))
    async with Client(url or stdio_client(own)) as client:
        for tool, arguments in (
            ("pool_spawn", {"name": "from-mcp", "worker_type": "shell"}),
            ("pool_execute", {"pool_id": "from-mcp", "task_type": "shell", "payload": {"command": "echo hello"}}),
            ("pool_list", {}),
        ):
            answer: Any = await client.call_tool(tool, arguments, progress_callback=progress)
            if answer.is_error:
                return str(answer.content[0].text)
            print(answer.content[0].text)  # answer.structured_content has the same as JSON
    return None


async def progress(seconds: float, _total: float | None, message: str | None) -> None:
    print(f"{seconds:.0f} s: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None)))

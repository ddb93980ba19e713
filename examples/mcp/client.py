"""Make a pool, run a command on it and look at the pools, with the official MCP client.

python client.py http://127.0.0.1:8680/mcp     a server that runs
python client.py                               a server of its own, over standard input and output
"""

from __future__ import annotations

import asyncio
import sys

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(url: str | None) -> None:
    server = url or stdio_client(StdioServerParameters(command="mahavishnu", args=["server", "--stdio"]))
    async with Client(server) as client:
        await client.call_tool("pool_spawn", {"name": "from-mcp", "worker_type": "shell"})
        work = {"pool_id": "from-mcp", "task_type": "shell", "payload": {"command": "echo hello"}}
        result = await client.call_tool("pool_execute", work, progress_callback=progress)
        print(result.structured_content["status"], result.structured_content["output"].strip())
        print((await client.call_tool("pool_list", {})).content[0].text)


async def progress(seconds: float, _total: float | None, message: str | None) -> None:
    print(f"{seconds:.0f} s: {message}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))

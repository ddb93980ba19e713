"""A Session-Buddy that speaks as the foreign one does: in sentences, failures as successes, pools lost at a restart.

Its workers are a stub, as in the original: they return nothing. What a prompt says decides how it goes.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from tests.waiting import eventually


class ForeignSessionBuddy:
    """The server, its pools, and the prompts it was given. ``go`` lets prompts end that say ``hold``."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.pools: list[str] = []
        self.prompts: list[str] = []
        self.go = threading.Event()
        #: Called before a pool is deleted.
        self.on_delete: Callable[[], object] = lambda: None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        self.pools = []
        config = uvicorn.Config(
            self._app(), host="127.0.0.1", port=self.port, log_level="error", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        eventually(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    async def _run(self, prompt: str, seconds: float) -> str:
        self.prompts.append(prompt)
        if prompt == "fail":
            return "❌ Failed to execute task: the worker broke"
        if prompt.startswith("hold") and not await asyncio.to_thread(self.go.wait, seconds):
            return "❌ Failed to execute task: "
        return ""

    def _app(self) -> Any:
        mcp = MCPServer("session-buddy")

        @mcp.tool()
        async def create_pool(pool_id: str | None = None) -> str:
            if pool_id in self.pools:
                return f"❌ Failed to create pool: Pool {pool_id} already exists"
            self.pools.append(str(pool_id))
            raise ToolError("Error creating pool: 'status'")

        @mcp.tool()
        async def list_pools() -> str:
            listed = "\n".join(f"  - {one}: running=True, workers=3" for one in self.pools)
            return f"📊 Pools ({len(self.pools)} total):\n{listed}"

        @mcp.tool()
        async def get_pool_status(pool_id: str) -> str:
            if pool_id not in self.pools:
                return f"❌ Failed to get pool status: Pool {pool_id} not found"
            return f"Pool {pool_id}:\nRunning: True\nWorkers: 3\nQueue size: 0"

        @mcp.tool()
        async def delete_pool(pool_id: str) -> str:
            if pool_id not in self.pools:
                return f"⚠️ Pool {pool_id} not found"
            self.on_delete()
            self.pools.remove(pool_id)
            return f"✅ Deleted pool {pool_id}"

        @mcp.tool()
        async def execute_on_pool(
            pool_id: str,
            prompt: str,
            context: dict[str, Any] | None = None,
            timeout: float | None = None,  # noqa: ASYNC109  # the foreign tool's own name
        ) -> str:
            if pool_id not in self.pools:
                return f"❌ Failed to execute task: Pool {pool_id} not found"
            trouble = await self._run(prompt, timeout or 30.0)
            return trouble or f"✅ Task executed on pool {pool_id} by worker {pool_id}-worker-0"

        return mcp.streamable_http_app()

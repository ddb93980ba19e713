"""A real MCP server of the official SDK, in a thread of its own; it can be stopped and started again on its port."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.fixtures.valkey import free_port
from tests.waiting import eventually


class RealServer:
    """The server and what its tools were asked."""

    def __init__(self, *, json_response: bool = False) -> None:
        self._json = json_response
        self.port = free_port()
        self.calls: list[str] = []
        self.cancelled = threading.Event()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
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

    def _app(self) -> Any:
        mcp = MCPServer("real")

        @mcp.tool()
        async def echo(text: str) -> str:
            self.calls.append(text)
            return text

        @mcp.tool()
        async def numbers(count: int) -> dict[str, Any]:
            return {"numbers": list(range(count)), "words": "one\u2028two\x85three"}

        @mcp.tool()
        async def broken() -> str:
            raise ToolError("the disk is full")

        @mcp.tool()
        async def slow() -> str:
            self.calls.append("slow")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return "late"

        @mcp.custom_route("/health", methods=["GET"])
        async def health(_: Request) -> JSONResponse:
            return JSONResponse({"status": "ok", "service": "real"})

        return mcp.streamable_http_app(json_response=self._json)

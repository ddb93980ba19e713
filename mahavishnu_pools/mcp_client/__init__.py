"""Client of remote MCP servers over streamable HTTP."""

from __future__ import annotations

from mahavishnu_pools.mcp_client.answers import ToolAnswer
from mahavishnu_pools.mcp_client.client import McpClient

__all__ = ["McpClient", "ToolAnswer"]

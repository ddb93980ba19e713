"""The embedded Akosha: an MCP server that keeps the memory of all pools and finds patterns across them."""

from __future__ import annotations

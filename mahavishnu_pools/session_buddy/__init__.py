"""An embedded Session-Buddy: pools of three workers in one process, and a memory, both as MCP tools."""

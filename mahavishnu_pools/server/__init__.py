"""The server: every verb on pools and tasks as an MCP tool, and pages for health and metrics."""

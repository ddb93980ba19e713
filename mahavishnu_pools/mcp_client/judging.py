"""Tells what a server's reply means: a result, a refusal, or that it cannot be used now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client.wire import Reply, Wire

#: HTTP statuses of a server that may well answer later.
_LATER = {408, 425, 429}

#: JSON-RPC errors of a server that failed; the others refuse the request.
_SERVER_FAILED = range(-32099, -31999)
_INTERNAL_ERROR = -32603


class Judge:
    """Reads the replies of one server; its errors name that server."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def result(self, reply: Reply) -> Mapping[str, Any]:
        """Return the result of a request.

        Raises:
            RemoteUnavailable, RemoteRefused: there is none.
        """
        self.check(reply)
        message = reply.message or {}
        error = message.get("error")
        if error is not None:
            code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
            if code == _INTERNAL_ERROR or code in _SERVER_FAILED:
                raise self._wire.unavailable(f"reports an error of its own: {text}", maybe_ran=True)
            raise self._refused(f"refused the request: {text}", reply.status)
        result = message.get("result")
        if not isinstance(result, dict):
            raise self._wire.unavailable("answered with a result that is no object", maybe_ran=True)
        return result

    def check(self, reply: Reply) -> None:
        """Let a success pass.

        Raises:
            RemoteUnavailable: the server failed, or has no time; it may answer later.
            RemoteRefused: it will answer this in no other way.
        """
        status, said = reply.status, f": {reply.reason}" if reply.reason else ""
        if status < 300:
            return
        if status >= 500 or status in _LATER:
            raise self._wire.unavailable(f"answered {status}{said}", maybe_ran=status not in _LATER)
        if status in (401, 403):
            raise self._refused(f"does not let us in ({status}{said}). Check the token", status)
        if status < 400:
            raise self._refused(f"says it is elsewhere ({status}{said}). Give that URL", status)
        if status == 404:
            raise self._refused(f"has nothing at this path (404{said}). Check the URL", status)
        raise self._refused(f"refused the request ({status}{said})", status)

    def _refused(self, what: str, status: int) -> errors.RemoteRefused:
        shown = self._wire.shown
        return errors.RemoteRefused(f"The MCP server at {shown} {what}.", url=shown, status=status)

    def schemas(self, page: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the tools of one page of the list, each with the schema of its arguments.

        Raises:
            RemoteUnavailable: it is no such page.
        """
        listed = page.get("tools")
        if not isinstance(listed, list):
            raise self._wire.unavailable("answered with a list of tools that is none")
        named = [tool for tool in listed if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
        schemas = {tool["name"]: tool.get("inputSchema") for tool in named}
        return {name: schema if isinstance(schema, dict) else {} for name, schema in schemas.items()}

"""The session a client has with a server: opened once for all who ask at the same time, replaced when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.mcp_client.judging import Judge
from mahavishnu_pools.mcp_client.wire import Wire

#: The protocol's version we ask for; servers may answer with another, which is then used.
PROTOCOL_VERSION = "2025-06-18"

#: What may be a version: it goes into a header.
_VERSION = re.compile(r"[!-~]{1,40}")

_ACCEPT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@dataclass(eq=False, slots=True)
class Session:
    """What every request of a session carries, and the tools the server listed in it."""

    headers: dict[str, str]
    tools: Mapping[str, Mapping[str, Any]] | None = None


class Sessions:
    """The sessions of one client, one at a time. ``ids`` numbers its requests."""

    def __init__(self, wire: Wire, judge: Judge) -> None:
        self.current: Session | None = None
        self.ids = itertools.count(1)
        self._wire = wire
        self._judge = judge
        self._opening = asyncio.Lock()

    async def opened(self) -> Session:
        """Return the session, opened if there is none.

        Raises:
            RemoteUnavailable, RemoteRefused: the server gave none.
        """
        if self.current is not None:
            return self.current
        async with self._opening:
            if self.current is None:
                self.current = await self._initialize()
            return self.current

    def drop(self, session: Session | None) -> None:
        """Forget a session, unless it has been replaced already."""
        self.current = None if self.current is session else self.current

    async def _initialize(self) -> Session:
        from importlib import metadata

        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "mahavishnu-pools", "version": metadata.version("mahavishnu-pools")},
        }
        reply = await self._wire.post(message("initialize", params, next(self.ids)), _ACCEPT)
        result = self._judge.result(reply)
        version = str(result.get("protocolVersion", PROTOCOL_VERSION))
        if not _VERSION.fullmatch(version):
            raise self._wire.unavailable(f"answered with a protocol's version that is none: {version[:100]!r}")
        headers = {**_ACCEPT, "mcp-protocol-version": version}
        if session_id := reply.headers.get("mcp-session-id"):
            headers["mcp-session-id"] = session_id
        self._judge.check(await self._wire.post(message("notifications/initialized", {}), headers))
        return Session(headers)


def message(method: str, params: Mapping[str, Any], request_id: int | None = None) -> dict[str, Any]:
    """Return a JSON-RPC request; without an id it is a notification, which nobody answers."""
    made = {"jsonrpc": "2.0", "method": method, "params": params}
    return made if request_id is None else {**made, "id": request_id}

"""Who may use an MCP server over HTTP: tokens, and what browsers may do."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

#: The path of the tools.
TOOLS = "/mcp"


class Guard:
    """Asks for a token where one is needed, and lets browsers in only from the server's own pages and with a token.

    ``tokens`` open every path (none: nobody is asked) and are looked at for each request, ``read`` has other tokens for
    some paths, ``free`` paths need none. Nobody waits at ``GET /mcp`` for messages that are never sent.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Collection[str], free: Iterable[str], read: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._free = frozenset(free)
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        path, given = scope["path"], dict(scope["headers"])
        if path in self._free:
            return None
        needed = (*self._read.get(path, ()), *self._tokens)
        if needed and not _matches(given.get(b"authorization", b""), needed):
            told = "This server needs its token: send the header 'Authorization: Bearer <token>'."
            return _refused(401, told, {"WWW-Authenticate": "Bearer"})
        if b"origin" in given and not (needed and _same_site(given)):
            told = "Web pages of other sites may not use this server, and its own only with a token."
            return _refused(403, told, {})
        if scope["method"] == "GET" and path == TOOLS:
            return _refused(405, "This server sends no messages of its own. Use POST.", {"Allow": "POST, DELETE"})
        return None


def _matches(given: bytes, tokens: Iterable[str]) -> bool:
    return any(hmac.compare_digest(given, f"Bearer {token}".encode()) for token in tokens)


def _same_site(given: Mapping[bytes, bytes]) -> bool:
    try:
        return urlsplit(given[b"origin"].decode()).netloc == given.get(b"host", b"").decode()
    except ValueError:
        return False


def _refused(status: int, told: str, headers: Mapping[str, str]) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": told}, status_code=status, headers=dict(headers))

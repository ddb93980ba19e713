"""The addresses of the page: itself at ``/``, its JSON under ``/api``, streams under ``/api/stream``."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mahavishnu_pools import errors
from mahavishnu_pools.server.live.acting import ActionsOff, act
from mahavishnu_pools.server.live.hub import Hub
from mahavishnu_pools.server.live.reading import Reader
from mahavishnu_pools.server.live.streaming import stream
from mahavishnu_pools.server.live.topics import TaskTopic, Topic, View
from mahavishnu_pools.wording import whole_value

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from mahavishnu_pools.server.pools import Pools

#: Names of this machine. Without a token a page under another one may be anybody's that leads here.
_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

#: Bytes of what is said with an action.
BODY_MOST = 16 * 1024

_STATUS: Sequence[tuple[type[errors.MahavishnuError], int]] = (
    (ActionsOff, 403),
    (errors.NotFound, 404),
    (errors.InvalidInput, 400),
    (errors.Unavailable, 503),
)

_PLAIN = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Live:
    """The page and what it is made of. With ``guarded`` a token was asked for before, and the page may act."""

    def __init__(self, pools: Pools, hub: Hub, *, guarded: bool) -> None:
        self._pools, self._hub, self._guarded = pools, hub, guarded
        self._reader = Reader(pools, actions=guarded)

    def routes(self) -> list[Route]:
        """Return the routes."""
        shown = _Page()
        return [
            Route("/", shown.show, methods=["GET"]),
            Route("/api/overview", self._json(lambda _: self._reader.overview()), methods=["GET"]),
            Route("/api/pools/{name:path}", self._json(self._reader.pool), methods=["GET"]),
            Route("/api/tasks/{name:path}", self._json(self._reader.task), methods=["GET"]),
            Route("/api/stream/{kind}", _Streamed(self._stream)),
            Route("/api/stream/{kind}/{name:path}", _Streamed(self._stream)),
            Route("/api/actions/{verb}/{name:path}", self._act, methods=["POST"]),
        ]

    def _json(self, read: Callable[[str], Awaitable[BaseModel]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._check(request)
                found = await read(request.path_params.get("name", ""))
            except errors.MahavishnuError as exc:
                return _refused(exc)
            return JSONResponse(whole_value(found.model_dump(mode="json")), headers=_PLAIN)

        return answer

    async def _act(self, request: Request) -> Response:
        try:
            if not self._guarded:
                raise ActionsOff(
                    "This server only shows: it has no token. Set server_token (MAHAVISHNU_SERVER_TOKEN) and start it "
                    "again, or use the commands of 'mahavishnu pools'."
                )
            verb, name = request.path_params["verb"], request.path_params["name"]
            done = await act(await self._pools.manager(), verb, name, await _body(request))
        except errors.MahavishnuError as exc:
            return _refused(exc)
        return JSONResponse(whole_value(done), headers=_PLAIN)

    async def _stream(self, request: Request, receive: Receive, send: Send) -> None:
        kind, name = request.path_params["kind"], request.path_params.get("name", "")
        last = request.headers.get("last-event-id", "")
        try:
            self._check(request)
            make = self._topic(kind, name)
            async with self._hub.following(f"{kind}/{name}", make, last=last) as follower:
                await stream(follower, receive, send)
        except errors.MahavishnuError as exc:
            await _refused(exc)(request.scope, receive, send)

    def _topic(self, kind: str, name: str) -> Callable[[], Topic]:
        if kind == "overview" and not name:
            return lambda: View(self._reader.overview)
        if kind == "pools" and name:
            return lambda: View(partial(self._reader.pool, name))
        if kind == "tasks" and name:
            return lambda: TaskTopic(self._reader, name)
        raise errors.UnknownChoice.of("stream", kind, ["overview", "pools/NAME", "tasks/ID"])

    def _check(self, request: Request) -> None:
        if self._guarded:
            return
        try:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        except ValueError:
            host = None
        if host not in _OWN_NAMES:
            raise errors.InvalidField.of("Host", f"is {host}", "Without a token use http://127.0.0.1 or localhost.")
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            # An image or script of another site gets nothing it can read, but would keep connections open.
            raise errors.InvalidField.of("Sec-Fetch-Site", "is another site", "Open the page itself.")


class _Streamed:
    """An endpoint that sends its answer itself; starlette takes what is no function for an application."""

    def __init__(self, answer: Callable[[Request, Receive, Send], Awaitable[None]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            refused = JSONResponse({"error": "Use GET."}, status_code=405, headers={"Allow": "GET"})
            return await refused(scope, receive, send)
        return await self._answer(Request(scope, receive), receive, send)


class _Page:
    """The file of the page, and headers that let it run its own script and style and nothing else."""

    def __init__(self) -> None:
        self._body = (resources.files("mahavishnu_pools.server.live") / "page.html").read_bytes()
        allowed = {
            "default-src": "'none'",
            "script-src": _hashes(self._body, "script"),
            "style-src": _hashes(self._body, "style"),
            "connect-src": "'self'",
            "img-src": "data:",
            **dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'"),
        }
        policy = "; ".join(f"{what} {whom}" for what, whom in allowed.items())
        # The page holds no data; a browser asks each time, because the next version may be another one.
        self._headers = {
            **_PLAIN,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": f"{policy}; require-trusted-types-for 'script'",
            "X-Frame-Options": "DENY",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }

    async def show(self, _: Request) -> Response:
        return Response(self._body, media_type="text/html; charset=utf-8", headers=self._headers)


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > BODY_MOST:
                raise errors.InvalidField.of("body", f"has more than {BODY_MOST} bytes", "Say it in fewer words.")
    except ClientDisconnect:
        raise errors.InvalidField.of("body", "did not come whole", "Send it again.") from None
    return body


def _hashes(body: bytes, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), body, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in found)


def _refused(exc: errors.MahavishnuError) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(exc, kind)), 500)
    told: dict[str, Any] = {"code": exc.code, "message": exc.message, "details": exc.details()}
    return JSONResponse({"error": whole_value(told)}, status_code=status, headers=_PLAIN)

"""Serves tools to MCP clients over streamable HTTP at ``/mcp``, with health at ``/health`` and ``/mcp/health``."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import closing, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_guard import Guard
from mahavishnu_pools.mcp_stdio import own_input
from mahavishnu_pools.mcp_tools import Answer, Page, Service, Tool, mcp_server

if TYPE_CHECKING:
    from pydantic import JsonValue
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

__all__ = ["Answer", "Page", "Service", "Tool", "application", "serve", "serve_stdio"]

#: Seconds that calls which run when the server is stopped may go on.
STOP_SECONDS = 10.0

#: Connections that may wait to be accepted.
BACKLOG = 1024

#: Seconds that a question for the health waits for details.
DETAILS_SECONDS = 1.0

_HEALTH_PATHS = ("/health", "/mcp/health")


async def serve(
    service: Service, *, host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT; calls that run then have 10 s to end, a second signal ends them at once.

    ``port`` 0 takes a free one. ``on_ready`` gets the URL, such as ``http://127.0.0.1:8678/mcp``, once it answers.

    Raises:
        InvalidField: the address is not loopback and there is no token, or it cannot be used.
        Unavailable: the packages of the extra ``mcp`` are not installed.
    """
    _require_mcp()
    _check_exposure(host, service.accepted)
    with closing(_listen(host, port)) as listening:
        shown = f"[{host}]" if ":" in host else host
        server = _server(service, host, lambda: on_ready(f"http://{shown}:{listening.getsockname()[1]}/mcp"))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            service.stopping.set()
            server.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            await server.serve(sockets=[listening])
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def serve_stdio(service: Service) -> None:
    """Serve one client over this process's standard input and output, until the input ends, SIGTERM or SIGINT.

    What is printed to standard output meanwhile goes to standard error.

    Raises:
        Unavailable: the packages of the extra ``mcp`` are not installed.
    """
    _require_mcp()
    from mcp.server.stdio import stdio_server

    server = mcp_server(service)

    async def talk() -> None:
        lines = own_input(service.max_request_bytes)
        async with lines as given, stdio_server(cast(Any, given)) as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    talking = asyncio.ensure_future(talk())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        service.stopping.set()
        talking.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.wait([talking])
        if not talking.cancelled():
            talking.result()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def application(service: Service, *, host: str = "127.0.0.1") -> ASGIApp:
    """Return the ASGI application; on a loopback ``host`` only requests addressed to loopback names are answered.

    Raises:
        Unavailable: the packages of the extra ``mcp`` are not installed.
    """
    _require_mcp()
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    details = _Details(service)

    async def health(_: object) -> JSONResponse:
        told = {"service": service.name, "version": service.version}
        try:
            return JSONResponse({"status": "ok", **told, **await details.read()})
        except errors.Unavailable as exc:
            logger.warning("%s cannot work: %s", service.name, exc, extra={"action": "health"})
            return JSONResponse({"status": "unavailable", **told}, status_code=503)

    routes = [Route(path, health, methods=["GET"]) for path in _HEALTH_PATHS]
    routes += [Route(path, _shown(page), methods=["GET"]) for path, page in service.pages.items()]
    routes += service.routes()
    app: Starlette = mcp_server(service).streamable_http_app(
        json_response=not service.streams,  # one answer per request: no stream stays open when the server is to stop
        max_request_body_size=service.max_request_bytes,
        custom_starlette_routes=routes,
        host="127.0.0.1" if _is_loopback(host) else host,
    )
    open_pages = [*(path for path, page in service.pages.items() if not page.tokens), *service.free]
    read = {path: page.tokens for path, page in service.pages.items() if page.tokens}
    return Guard(app, tokens=service.accepted, free=[*_HEALTH_PATHS, *open_pages], read=read)


class _Details:
    """What a service adds to its health: read in a thread, by one at a time, because it may wait for a disk."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reading: asyncio.Task[Mapping[str, JsonValue]] | None = None

    async def read(self) -> Mapping[str, JsonValue]:
        """Return the details, nothing when they take too long.

        Raises:
            Unavailable: what the service works with cannot be used.
        """
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(asyncio.to_thread(self._service.health))
        await asyncio.wait([self._reading], timeout=DETAILS_SECONDS)
        return self._reading.result() if self._reading.done() else {}


def _shown(page: Page) -> Callable[[object], Awaitable[Response]]:
    from starlette.responses import Response

    async def show(_: object) -> Response:
        status, kind, body = await page.read()
        return Response(body, status_code=status, media_type=kind)

    return show


def _server(service: Service, host: str, on_ready: Callable[[], None]) -> Any:
    import uvicorn

    class Served(uvicorn.Server):
        """Tells when it answers, and leaves signals to the caller: uvicorn's own end kills the process by them."""

        def stop(self) -> None:
            # Not handle_exit: sse-starlette replaces that by one that cuts every stream of the process off at once.
            self.force_exit = self.should_exit
            self.should_exit = True

        def capture_signals(self) -> Any:
            return nullcontext()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                on_ready()

    config = uvicorn.Config(
        application(service, host=host),
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=int(STOP_SECONDS),
    )
    return Served(config)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio sends each answer at once (TCP_NODELAY) instead of some 40 ms later.
        listening = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening
    except (OSError, OverflowError) as exc:
        raise errors.InvalidField.of(
            "port", f"{host}:{port} cannot be listened on ({exc})", "Give another one; 0 takes a free one."
        ) from exc


def _check_exposure(host: str, tokens: Collection[str]) -> None:
    if not tokens and not _is_loopback(host):
        remedy = "Give a token, or listen on 127.0.0.1."
        raise errors.InvalidField.of("host", f"{host} can be reached from other machines and there is no token", remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_mcp() -> None:
    missing = [name for name in ("mcp", "uvicorn", "starlette") if find_spec(name) is None]
    if missing:
        text = f"MCP servers need packages that are not installed ({', '.join(missing)}). Install them with: "
        raise errors.Unavailable(f"{text}pip install 'mahavishnu-pools[mcp]'")

"""Ask a server whether it is there, with the standard library only: the supervisor must start at once."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from mahavishnu_pools.embedded.server_binary import OLDEST_VERSION


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; ``reason`` is None when it can be used, ``silent``: it said nothing."""

    reason: str | None = None
    loading: bool = False
    silent: bool = False

    @property
    def ready(self) -> bool:
        """Tell whether the server takes commands."""
        return self.reason is None


def ping(url: str, *, timeout: float = 1.0) -> Answer:
    """Ask the server behind a URL for a sign of life, its version and its mode.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or ``sentinel://`` (then the first sentinel is asked).
        timeout: for every step, in seconds.
    """
    parts = urlsplit(url)
    try:
        with _connect(parts, timeout=timeout) as connection, connection.makefile("rb") as stream:
            return _talk(parts, connection, stream)
    except (OSError, ValueError) as exc:
        return Answer(reason=f"{place(url)} does not answer ({exc})", silent=True)


def place(url: str) -> str:
    """Return where a URL points, without user and password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2] or "localhost"


def _connect(parts: SplitResult, *, timeout: float) -> socket.socket:
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(unquote(parts.path))
        except OSError:
            connection.close()
            raise
        return connection
    host, port = _address(parts)
    connection = socket.create_connection((host, port), timeout=timeout)
    return _encrypted(parts, connection, host) if parts.scheme == "rediss" else connection


def _address(parts: SplitResult) -> tuple[str, int]:
    if parts.scheme == "sentinel":
        parts = urlsplit(f"//{parts.netloc.split(',')[0].split(';')[0]}")
        return parts.hostname or "localhost", parts.port or 26379
    return parts.hostname or "localhost", parts.port or 6379


def _encrypted(parts: SplitResult, connection: socket.socket, host: str) -> socket.socket:
    query = parse_qs(parts.query)
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs", [None])[0])
    if query.get("ssl_cert_reqs", ["required"])[0].lower() in ("none", "cert_none"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except OSError:
        connection.close()
        raise


def _talk(parts: SplitResult, connection: socket.socket, stream: BinaryIO) -> Answer:
    where = place(parts.geturl())
    if parts.password and parts.scheme != "sentinel":
        user = (unquote(parts.username),) if parts.username else ()
        if _ask(connection, stream, "AUTH", *user, unquote(parts.password)).startswith("-WRONGPASS"):
            return Answer(reason=f"{where} refuses the password")
    reply = _ask(connection, stream, "PING")
    if reply.startswith("-LOADING"):
        return Answer(reason=f"{where} is still loading its data", loading=True)
    if reply.startswith(("-NOAUTH", "-WRONGPASS")):
        return Answer(reason=f"{where} asks for a password")
    if reply.startswith("-") or not reply.startswith("+PONG"):
        return Answer(reason=f"{where} answers {reply[:80]!r} to PING")
    return Answer(reason=_unsuitable(where, _ask(connection, stream, "INFO", "server")))


def _unsuitable(where: str, info: str) -> str | None:
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if facts.get("redis_mode") == "cluster":
        return f"{where} is a Redis Cluster, which is not supported; name a standalone server or a Sentinel"
    version = facts.get("redis_version", "")
    numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdigit())
    if numbers and numbers < OLDEST_VERSION:
        return f"{where} is version {version}, but 6.2 or newer is needed"
    return None


def _ask(connection: socket.socket, stream: BinaryIO, *words: str) -> str:
    encoded = [word.encode() for word in words]
    message = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
    connection.sendall(message)
    line = stream.readline(65536)
    if not line:
        raise OSError("the connection was closed")
    if line.startswith(b"$") and not line.startswith(b"$-1"):
        return stream.read(int(line[1:]) + 2).decode(errors="replace")
    return line.decode(errors="replace").rstrip()

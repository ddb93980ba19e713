"""Ask a web server for a sign of life, with the standard library only: the supervisor must start at once."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def why_silent(url: str, *, timeout: float = 1.0) -> str | None:
    """Return why a URL does not answer with success, None when it does.

    Args:
        url: ``http://``; user and password are not sent.
        timeout: for every step, in seconds.
    """
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 80}"
    try:
        line = _first_line(parts.hostname or "localhost", parts.port or 80, parts.path or "/", timeout=timeout)
    except (OSError, ValueError) as exc:
        return f"{where} does not answer ({exc})"
    words = line.split(None, 2)
    if not words or not words[0].startswith("HTTP/"):
        return f"{where} is no web server"
    return None if words[1:2] and words[1].startswith("2") else f"{where} answers {' '.join(words[1:])!r}"


def speaks_http(host: str, port: int, *, timeout: float = 1.0) -> bool:
    """Tell whether a web server answers there, whatever it says."""
    try:
        return _first_line(host, port, "/health", timeout=timeout).startswith("HTTP/")
    except (OSError, ValueError):
        return False


def _first_line(host: str, port: int, path: str, *, timeout: float) -> str:
    with socket.create_connection((host, port), timeout=timeout) as connection, connection.makefile("rb") as stream:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        return stream.readline(4096).decode(errors="replace").strip()

"""A server for tasks that send requests: it writes down when one came and when it was answered."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.chaos.payloads import note


class Web:
    """Answers ``GET /?task=ID&seconds=S`` after so many seconds, if the one who asked still waits."""

    def __init__(self, diary: Path) -> None:
        handler = type("Handler", (_Handler,), {"diary": diary})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    diary: Path

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        task_id = asked["task"][0]
        note(self.diary, "start", task_id, attempt=0)
        threading.Event().wait(float(asked["seconds"][0]))
        if self._is_left():
            return
        note(self.diary, "effect", task_id, attempt=0)
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    def _is_left(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

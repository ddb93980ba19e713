"""A model server on loopback: just enough of two streaming interfaces to run the real AI programs end to end."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeModel:
    """What the server answers, and what it was asked; ``status`` other than 200 makes every request fail."""

    answer: str = "the answer is 42"
    status: int = 200
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def asked(self) -> str:
        """Return all requests as one JSON text."""
        return json.dumps(self.requests)

    def chunks(self, path: str) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Yield the events (name and data) of a streamed answer."""
        if path.endswith("/chat/completions"):
            base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
            delta = {"role": "assistant", "content": self.answer}
            yield None, {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            yield (
                None,
                {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": _OPENAI_USAGE},
            )
            return
        message: dict[str, Any] = {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "fake",
            "content": [],
            "stop_reason": None,
        }
        usage = {"input_tokens": 7, "output_tokens": 5}
        yield "message_start", {"message": {**message, "stop_sequence": None, "usage": usage}}
        yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
        yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": self.answer}}
        yield "content_block_stop", {"index": 0}
        yield "message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}
        yield "message_stop", {}


_OPENAI_USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


class _Handler(BaseHTTPRequestHandler):
    """Answers as the model of its server does."""

    model: FakeModel

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        path = self.path.partition("?")[0]
        self.model.requests.append((path, body))
        if path.endswith("/count_tokens"):
            self._send(200, "application/json", json.dumps({"input_tokens": 7}))
        elif self.model.status != 200:
            error = {
                "type": "rate_limit_error" if self.model.status == 429 else "invalid_request_error",
                "message": "no",
            }
            self._send(self.model.status, "application/json", json.dumps({"type": "error", "error": error}))
        else:
            self._send(200, "text/event-stream", self._stream(path))

    def do_GET(self) -> None:
        self._send(404, "application/json", "{}")

    def _stream(self, path: str) -> str:
        events = [
            (f"event: {name}\n" if name else "") + f"data: {json.dumps({'type': name, **data} if name else data)}\n\n"
            for name, data in self.model.chunks(path)
        ]
        return "".join(events) + ("data: [DONE]\n\n" if path.endswith("/chat/completions") else "")

    def _send(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing: pytest's output is no access log."""


@contextlib.contextmanager
def serve_model() -> Iterator[FakeModel]:
    """Serve a model on a free port of this machine until the end of the block."""
    model = FakeModel()

    handler = type("Handler", (_Handler,), {"model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    model.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

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
    """What the server answers, and what it was asked; ``status`` other than 200 makes every request fail.

    With ``tool`` (its name, and what it is given) the model calls that first, and answers when it knows the result.
    """

    answer: str = "the answer is 42"
    status: int = 200
    tool: tuple[str, dict[str, Any]] | None = None
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def asked(self) -> str:
        """Return all requests as one JSON text."""
        return json.dumps(self.requests)

    def tool_for(self, body: dict[str, Any]) -> tuple[str, str] | None:
        """Return the tool to call (name, input as JSON) on a request that offers it and has no result of it yet."""
        if self.tool is None:
            return None
        asked = json.dumps(body.get("messages", []))
        offered = f'"{self.tool[0]}"' in json.dumps(body.get("tools", []))
        known = '"tool_result"' in asked or '"role": "tool"' in asked
        return (self.tool[0], json.dumps(self.tool[1])) if offered and not known else None

    def chunks(self, path: str, body: dict[str, Any]) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Yield the events (name and data) of a streamed answer to a request."""
        tool = self.tool_for(body)
        if path.endswith("/chat/completions"):
            base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
            delta: dict[str, Any] = {"role": "assistant", "content": self.answer}
            if tool is not None:
                function = {"name": tool[0], "arguments": tool[1]}
                call = {"index": 0, "id": "call_1", "type": "function", "function": function}
                delta = {"role": "assistant", "content": None, "tool_calls": [call]}
            yield None, {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            ended = {"index": 0, "delta": {}, "finish_reason": "stop" if tool is None else "tool_calls"}
            yield None, {**base, "choices": [ended], "usage": _OPENAI_USAGE}
            return
        message: dict[str, Any] = {
            "id": f"m{len(self.requests)}",
            "type": "message",
            "role": "assistant",
            "model": "fake",
            "content": [],
            "stop_reason": None,
        }
        usage = {"input_tokens": 7, "output_tokens": 5}
        yield "message_start", {"message": {**message, "stop_sequence": None, "usage": usage}}
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": self.answer}
        if tool is not None:
            block = {"type": "tool_use", "id": "toolu_1", "name": tool[0], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": tool[1]}
        yield "content_block_start", {"index": 0, "content_block": block}
        yield "content_block_delta", {"index": 0, "delta": delta}
        yield "content_block_stop", {"index": 0}
        reason = "end_turn" if tool is None else "tool_use"
        yield "message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
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
            self._send(200, "text/event-stream", self._stream(path, body))

    def do_GET(self) -> None:
        self._send(404, "application/json", "{}")

    def _stream(self, path: str, body: dict[str, Any]) -> str:
        events = [
            (f"event: {name}\n" if name else "") + f"data: {json.dumps({'type': name, **data} if name else data)}\n\n"
            for name, data in self.model.chunks(path, body)
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
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""What the task type `http` does, against a server on loopback."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.run_context import make_context, run
from tests.waiting import eventually
from workers.executors.registry import execute

# ── http ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Site(http.server.BaseHTTPRequestHandler):
    release = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.release.wait(30)
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        self._answer(status, json.dumps({"path": self.path, "auth": self.headers.get("authorization")}))

    def do_POST(self) -> None:
        self._answer(200, self.rfile.read(int(self.headers["content-length"])).decode())

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body.encode())))
        if status == 429:
            self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    _Site.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def _http(url: str, *, timeout: float = 10.0, **payload: Any) -> Any:
    return run({"task_type": "http", "payload": {"url": url, **payload}, "timeout": timeout})


def test_a_page_is_fetched_as_text_and_json(site: str) -> None:
    outcome = _http(f"{site}/page")

    assert outcome.status == "completed"
    assert outcome.value["status"] == 200
    assert outcome.value["json"] == {"path": "/page", "auth": None}
    assert json.loads(outcome.output) == outcome.value["json"]


def test_json_and_text_can_be_sent(site: str) -> None:
    assert _http(site, method="post", json={"a": "é"}).value["json"] == {"a": "é"}
    assert _http(site, method="POST", body='"text"').output == '"text"'


@pytest.mark.parametrize(("status", "cause"), [(404, None), (429, "rate_limit"), (503, "overload"), (500, None)])
def test_another_answer_than_2xx_is_a_failure(site: str, status: int, cause: str | None) -> None:
    outcome = _http(f"{site}/{status}")

    assert (outcome.status, outcome.retryable) == ("failed", cause)
    assert str(status) in outcome.error


def test_the_server_says_how_long_to_wait(site: str) -> None:
    assert _http(f"{site}/429").metadata["retry_after_seconds"] == 7


def test_no_more_than_the_wanted_bytes_are_kept(site: str) -> None:
    outcome = _http(f"{site}/page", max_bytes=5)

    assert (outcome.output, outcome.value["body_cut_at"]) == ('{"pat', 5)


def test_a_slow_server_ends_at_the_timeout_of_request_or_task(site: str) -> None:
    payload = {"url": f"{site}/slow"}

    own = run({"task_type": "http", "payload": {**payload, "timeout": 0.2}})
    assert (own.status, own.retryable) == ("failed", "connection")
    assert "did not answer in time" in (own.error or "")
    assert run({"task_type": "http", "payload": payload, "timeout": 0.3}).status == "timeout"


def test_a_cancel_ends_a_request_that_waits(site: str) -> None:
    context = make_context({"task_type": "http", "payload": {"url": f"{site}/slow"}})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(lambda: context.cancellation._callbacks)
        context.cancellation.cancel()
        assert future.result(30).status == "cancelled"


def test_a_server_that_is_not_there_is_worth_another_attempt() -> None:
    outcome = _http("http://127.0.0.1:1/")

    assert (outcome.status, outcome.retryable) == ("failed", "connection")


def test_a_secret_in_a_header_is_filled_in_and_masked(site: str, tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("TOKEN=abc-123-xyz")
    file.chmod(0o600)
    spec = {
        "task_type": "http",
        "payload": {"url": site, "headers": {"Authorization": "Bearer ${TOKEN}"}},
        "secrets": ["TOKEN"],
    }

    outcome = run(spec, services={"secrets_file": file})

    assert outcome.value["json"]["auth"] == "Bearer •••"
    assert "abc-123" not in outcome.model_dump_json()

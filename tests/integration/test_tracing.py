"""Traces from the program that sends a task to the program that the task starts, received as OTLP over HTTP."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fixtures.agents import ROOT, Farm
from tests.waiting import eventually

REAL_GROUP = "workers.group_worker:run_group"

#: Sends a task below a span of its own, as a web application would, and waits for it.
PROGRAM = """
import asyncio, sys
from opentelemetry import trace
from mahavishnu_pools import PoolManager, tracing
tracing.set_up("application")
async def main():
    manager = PoolManager()
    with trace.get_tracer("application").start_as_current_span("request"):
        task = {"task_type": "shell", "payload": {"command": ["sh", "-c", sys.argv[1]]}}
        result = await manager.execute_on_pool("alpha", task)
    await manager.close()
    print(result.output, end="")
asyncio.run(main())
"""


class Receiver:
    """An OTLP receiver: keeps every span with the service it came from."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                values = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
                self.spans.append({"service": named["service.name"], "span": span, "about": values})

    def named(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.spans if one["span"].name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def send(farm: Farm, command: str, **env: str) -> str:
    found = {**os.environ, "MAHAVISHNU_REDIS_URL": farm.redis_url, "MAHAVISHNU_NAMESPACE": farm.namespace, **env}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command],
        cwd=ROOT,
        env=found,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_a_task_is_one_trace_from_the_sender_to_its_program(
    farm: Farm, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    farm.agent(group=REAL_GROUP).wait_ready()
    pool_id = farm.create(worker_type="shell")
    farm.wait_running(pool_id)

    carried = send(farm, "echo -n $TRACEPARENT")

    eventually(lambda: {"request", "submit", "wait", "run", "finish"} <= {one["span"].name for one in receiver.spans})
    [request], [submit], [wait], [run], [finish] = map(receiver.named, ("request", "submit", "wait", "run", "finish"))
    assert (request["service"], submit["service"], run["service"]) == (
        "application",
        "application",
        "mahavishnu-worker",
    )
    assert {one["span"].trace_id for one in (request, submit, wait, run, finish)} == {request["span"].trace_id}
    assert submit["span"].parent_span_id == request["span"].span_id
    assert {one["span"].parent_span_id for one in (wait, run, finish)} == {submit["span"].span_id}
    assert (run["about"]["mahavishnu.pool_id"], run["about"]["mahavishnu.status"]) == (pool_id, "completed")
    assert finish["about"]["mahavishnu.verdict"] == "ok"
    assert wait["span"].end_time_unix_nano <= run["span"].start_time_unix_nano + 10**7
    assert run["span"].end_time_unix_nano <= finish["span"].start_time_unix_nano + 10**6
    assert carried.split("-")[1:3] == [run["span"].trace_id.hex(), run["span"].span_id.hex()]


def test_a_task_that_fails_is_an_error_in_its_trace(
    farm: Farm, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    farm.agent(group=REAL_GROUP).wait_ready()
    farm.wait_running(farm.create(worker_type="shell"))

    send(farm, "exit 3")

    [run] = eventually(lambda: receiver.named("run"))
    assert run["span"].status.code == 2
    assert "3" in run["span"].status.message


def test_without_configuration_nothing_is_traced_and_messages_carry_nothing(farm: Farm) -> None:
    farm.agent(group=REAL_GROUP).wait_ready()
    farm.wait_running(farm.create(worker_type="shell"))

    assert send(farm, "echo -n [$TRACEPARENT]") == "[]"

"""OpenTelemetry traces of tasks: sent, waiting, running, written. Nothing of it is imported until somebody traces.

A program that has set OpenTelemetry up gets a span for what it sends, below its own. The context travels in the message
(W3C ``traceparent``), so the spans of the worker are in the same trace; programs that a task starts find it in
``TRACEPARENT``. Processes of ours trace when ``OTEL_TRACES_EXPORTER`` or ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set (the
extra ``otel``).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

NAME = "mahavishnu_pools"

#: Header of a message with the time it was sent (epoch seconds), there only when it is traced.
SENT = "traced_at"

_MODULE = "opentelemetry.trace"

_VARIABLES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Kind = Literal["producer", "consumer", "internal"]


def set_up(service: str) -> None:
    """Have this process send its spans where the environment says, if it says so. To be called after a fork.

    ``OTEL_TRACES_EXPORTER`` is ``otlp`` (over HTTP), ``console`` or ``none``; the others are OpenTelemetry's own.
    """
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if exporter == "none" or not any(os.environ.get(name) for name in _VARIABLES):
        return
    try:
        _install(service, exporter)
    except ImportError as exc:
        logger.warning("There are no traces (%s): install them with pip install 'mahavishnu-pools[otel]'", exc)


def _install(service: str, exporter: str) -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(named))
    out = ConsoleSpanExporter(out=sys.stderr) if exporter == "console" else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(out))
    trace.set_tracer_provider(provider)


def continue_from_environment() -> None:
    """Go on with the trace in ``TRACEPARENT``, as a program that a traced task started."""
    carried = {name: os.environ[name.upper()] for name in ("traceparent", "tracestate") if name.upper() in os.environ}
    if carried and _MODULE in sys.modules:
        from opentelemetry import context, propagate

        context.attach(propagate.extract(carried))


def shut_down() -> None:
    """Send the spans that have ended and stop; to be called before a process leaves without its exit handlers."""
    if _MODULE in sys.modules:
        from opentelemetry import trace

        stop = getattr(trace.get_tracer_provider(), "shutdown", None)  # only what was installed has one
        if stop is not None:
            stop()


def _is_set_up() -> bool:
    """Tell whether spans go anywhere. That OpenTelemetry is imported says little: redis-py does that, too."""
    if _MODULE not in sys.modules:
        return False
    from opentelemetry import trace

    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def span(name: str, *, kind: Kind = "internal", attributes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Trace a block below the current span; an exception in it is recorded. Costs nothing when nobody traces."""
    if not _is_set_up():
        yield
        return
    from opentelemetry import trace

    given = dict(attributes or {})
    with trace.get_tracer(NAME).start_as_current_span(name, kind=trace.SpanKind[kind.upper()], attributes=given):
        yield


def headers() -> dict[str, Any]:
    """Return what a message carries of the current trace; empty when nobody traces."""
    if _MODULE not in sys.modules:
        return {}
    from opentelemetry import propagate

    carrier: dict[str, Any] = {}
    propagate.inject(carrier)
    return {**carrier, SENT: time.time()} if carrier else {}


class TaskTrace:
    """The spans of one run in a worker: ``run``, then ``finish`` until Redis has confirmed its end."""

    def __init__(self, carried: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        from opentelemetry import propagate, trace

        self._tracer = trace.get_tracer(NAME)
        self._attributes = dict(attributes)
        texts = {name: value for name, value in carried.items() if isinstance(value, str)}
        self._parent: Context = propagate.extract(texts)
        self._finish: Span | None = None
        sent = carried.get(SENT)
        if isinstance(sent, (int, float)):
            # The sender's clock may be ahead of this one.
            waiting = self._begin("wait", start=min(sent, time.time()))
            waiting.end()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Trace the run as the current span; ``ended`` says how it ended."""
        from opentelemetry import trace

        self._run = self._begin("run", kind=trace.SpanKind.CONSUMER)
        with trace.use_span(self._run):
            yield

    def environment(self) -> dict[str, str]:
        """Return the variables with which a program continues the trace of the run."""
        from opentelemetry import propagate, trace

        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(self._run, self._parent))
        return {name.upper(): value for name, value in carrier.items()}

    def ended(self, status: str, error: str | None) -> None:
        """End the run's span, and begin that of writing its end."""
        from opentelemetry import trace

        self._run.set_attribute("mahavishnu.status", status)
        if status != "completed":
            self._run.set_status(trace.Status(trace.StatusCode.ERROR, (error or status)[:300]))
        self._run.end()
        self._finish = self._begin("finish")

    def written(self, verdict: str) -> str:
        """End the span of writing the end; returns ``verdict``, which is what the store said."""
        if self._finish is not None:
            self._finish.set_attribute("mahavishnu.verdict", verdict)
            self._finish.end()
        return verdict

    def _begin(self, name: str, *, start: float | None = None, **how: Any) -> Span:
        began = None if start is None else int(start * 1e9)
        return self._tracer.start_span(name, context=self._parent, attributes=self._attributes, start_time=began, **how)


def task_trace(carried: Mapping[str, Any], **attributes: Any) -> TaskTrace | None:
    """Return the trace of a run whose message has these headers; None when it has none, or nobody traces here."""
    if _MODULE not in sys.modules or "traceparent" not in carried:
        return None
    return TaskTrace(carried, {f"mahavishnu.{name}": value for name, value in attributes.items()})

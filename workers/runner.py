"""Runs claims of ``run_task``: message → specification → executor → end of the claim."""

from __future__ import annotations

import json
import logging
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.process_logs import about
from mahavishnu_pools.schemas.task import Got, Outcome, TaskSpec
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.tracing import TaskTrace, task_trace

from .claims import Running
from .events import TaskEvents
from .executors.given import not_given
from .executors.interface import Limits, RunContext
from .logs import LogWriter
from .outcome import Attempt, ending, may_retry
from .parents import with_parents

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GroupContext:
    """What is the same for all tasks of a worker group; the fields are those of ``RunContext``."""

    pool_id: str
    node: str
    worker_type: str | None
    env: Mapping[str, str] = field(repr=False)
    default_cwd: Path | None
    allowed_roots: tuple[Path, ...]
    limits: Limits
    python_callables: tuple[str, ...]
    result_ttl: float
    services: Mapping[str, Any] = field(default_factory=dict)
    signer: Signer | None = None

    def may_run(self, message: Mapping[str, Any]) -> bool:
        """Tell whether a message may be run: with keys, what is signed with one of them, and what beat sends."""
        return self.signer is None or self.signer.accepts(message) or _is_bare_periodic(message)


class TaskRunner:
    """Runs one claim in the calling thread and says how it ended."""

    def __init__(
        self,
        group: GroupContext,
        *,
        logs: LogWriter,
        events: TaskEvents,
        end: Callable[[leases.Held, Call[Any]], None],
    ) -> None:
        self._group = group
        self._logs = logs
        self._events = events
        self._end = end

    def received(self, running: Running, headers: dict[str, Any]) -> None:
        """Show a claim that is about to wait for a thread."""
        self._events.received(running, headers)

    def run(self, running: Running, data: Any, headers: Mapping[str, Any] | None = None) -> None:
        """Run a claimed task (``data`` is its specification as JSON data) until its claim is ended.

        ``headers`` are those of its message, which may carry a trace.
        """
        held = running.held
        ids = {"task_id": held.task_id, "pool_id": held.pool_id, "attempt": running.claim.attempt}
        running.trace = task_trace(headers or {}, **ids)
        started, clock = time.time(), time.monotonic()
        worker_id = f"{threading.current_thread().name}@{self._group.node}"
        self._events.started(running)
        with about(task_id=held.task_id), running.trace.running() if running.trace else nullcontext():
            spec, outcome = self.attempt(running, data, worker_id)
        attempt = Attempt(
            held=held,
            number=running.claim.attempt,
            worker_id=worker_id,
            task_type=spec.task_type,
            started=started,
            duration=time.monotonic() - clock,
            waited=max(0.0, clock - running.asked_at),
            retries=running.claim.retries,
        )
        try:
            self._logs.finish(held.task_id)
            again = _is_handed_back(running, outcome) or may_retry(outcome, spec, attempt.retries)
            self._events.finished(running, outcome, attempt.duration, again=again)
        except Exception:  # the border of what only watches: a task ends whether or not it can be shown
            logger.exception("The end of task %s was not shown", held.task_id)
        self._end(held, _traced(self._ending(running, spec, outcome, attempt), running.trace, outcome))

    def _ending(self, running: Running, spec: TaskSpec, outcome: Outcome, attempt: Attempt) -> Call[Any]:
        ttl = self._group.result_ttl
        if _is_handed_back(running, outcome):
            return leases.hand_back(running.held, result_ttl=ttl)
        try:
            return ending(outcome, spec, attempt, result_ttl=ttl)
        except (ValueError, TypeError, RecursionError) as exc:
            failed = Outcome(status="failed", error=f"Its result cannot be written: {exc}")
            return ending(failed, spec, attempt, result_ttl=ttl)

    def attempt(self, running: Running, data: Any, worker_id: str) -> tuple[TaskSpec, Outcome]:
        """Run one attempt in this thread; a task that cannot be read or breaks its executor has failed."""
        from .executors.registry import execute

        try:
            spec = TaskSpec.model_validate(data)
        except (ValidationError, RecursionError) as exc:
            return _UNREADABLE, Outcome(status="failed", error=f"The task cannot be read: {exc}")
        try:
            withheld = None if spec.approval is None else self._withheld(running.held.task_id)
            told = withheld or with_parents(self._context(running, spec, worker_id))
            return spec, told if isinstance(told, Outcome) else not_given(told) or execute(told)
        except BaseException as exc:  # the border of a task: what it raises (sys.exit too) is its failure, no more
            logger.exception("Task %s broke its executor", running.held.task_id)
            return spec, Outcome(status="failed", error=f"{type(exc).__name__}: {exc}")

    def _withheld(self, task_id: str) -> Outcome | None:
        """Return how a task ends that needs an approval and has none: it came here on another way than by submit."""
        approved = self._group.services.get("approved")
        try:
            may_run = approved is not None and approved(task_id)
        except errors.NotFound:
            may_run = False  # its record is gone, and with it the approval
        except errors.Unavailable as exc:
            return Outcome(status="failed", error=f"Its approval could not be looked up: {exc}", retryable="connection")
        remedy = "Submit it with PoolManager, the command line or MCP, where it waits for one."
        return None if may_run else Outcome(status="failed", error=f"It needs an approval and has none. {remedy}")

    def _context(self, running: Running, spec: TaskSpec, worker_id: str) -> RunContext:
        group = self._group
        return RunContext(
            task_id=running.held.task_id,
            pool_id=group.pool_id,
            worker_id=worker_id,
            attempt=running.claim.attempt,
            retries=running.claim.retries,
            spec=spec,
            worker_type=group.worker_type,
            env={**group.env, **running.trace.environment()} if running.trace else group.env,
            default_cwd=group.default_cwd,
            allowed_roots=group.allowed_roots,
            log=self._logs.sink(running.held.task_id),
            cancellation=running.cancellation,
            limits=group.limits,
            python_callables=group.python_callables,
            services=group.services,
            got=Got.model_validate_json(running.claim.got) if running.claim.got else None,
        )


def _is_handed_back(running: Running, outcome: Outcome) -> bool:
    """Tell whether an attempt was ended only so that somebody else runs the task."""
    return outcome.status == "cancelled" and running.hand_back and running.reason is None


def _traced(call: Call[Any], trace: TaskTrace | None, outcome: Outcome) -> Call[Any]:
    """Return the call with which a claim ends; its trace ends with the reply."""
    if trace is None:
        return call
    trace.ended(outcome.status, outcome.error)
    return replace(call, parse=lambda reply: trace.written(call.parse(reply)))


#: Stands for a specification that could not be read.
_UNREADABLE = TaskSpec(prompt="")


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a Celery message (protocol 2): arguments, and whether anything is to follow the task."""

    args: list[Any]
    kwargs: dict[str, Any]
    followed: bool

    @property
    def spec(self) -> Any:
        """Return the specification of a ``run_task`` call as JSON data."""
        return self.args[0] if self.args else self.kwargs.get("spec")


def read_body(message: Mapping[str, Any]) -> Body:
    """Decode a message's body.

    Raises:
        ValueError: it is no JSON of the protocol's form.
    """
    try:
        body = message["body"]
        if message["properties"].get("body_encoding") == "base64":
            body = b64decode(body)
        args, kwargs, embed = json.loads(body)
        headers = message["headers"]
        followed = bool(headers.get("group")) or any((embed or {}).values())
    except (LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError(f"no message of Celery's protocol 2 ({exc})") from exc
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("arguments are no list, or no mapping")
    return Body(args, kwargs, followed)


def _is_bare_periodic(message: Mapping[str, Any]) -> bool:
    """Tell whether a message calls one of our own periodic tasks, without arguments and with nothing to follow.

    Beat sends them by stock Celery, unsigned; who forges one can only have that done which is done anyway.
    """
    if not str(message["headers"].get("task")).startswith(names.PERIODIC_PREFIX):
        return False
    body = read_body(message)
    return not (body.args or body.kwargs or body.followed)


def is_run_task(message: Mapping[str, Any]) -> bool:
    """Tell whether a message is a task of this project, rather than a user's Celery task."""
    return bool(message["headers"].get("task") == names.RUN_TASK)

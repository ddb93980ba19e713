"""What a worker group gives to an executor, and what both agree on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from mahavishnu_pools.schemas.dependency import ParentResult
from mahavishnu_pools.schemas.task import Got, TaskSpec

#: Causes for which another attempt may succeed.
Retryable = Literal["rate_limit", "overload", "connection"]


class LogSink(Protocol):
    """Where live output goes. Must be thread-safe, must not block long, must not keep the data object."""

    def write(self, stream: str, data: bytes) -> None:
        """Take a piece of output; ``stream`` is ``stdout`` or ``stderr``."""
        ...


class Cancellation:
    """A one-shot, thread-safe flag: the worker group sets it, the executor says what happens then."""

    def __init__(self) -> None:
        #: True when what runs outside of this process stays: its task is handed back, and another worker takes it over.
        self.leave = False
        self._requested = False
        #: Made when somebody waits: every task has a flag, and few wait for it.
        self._asked: threading.Event | None = None
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Tell whether the task is to be ended."""
        return self._requested

    def cancel(self, *, leave: bool = False) -> None:
        """Ask for the end of the task; a second call does nothing. Callbacks run in the calling thread."""
        with self._lock:
            if self._requested:
                return
            self.leave = leave
            self._requested = True
            if self._asked is not None:
                self._asked.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have the callback called once on cancel, at once if that was asked already. It must not raise or block."""
        with self._lock:
            if not self._requested:
                self._callbacks.append(callback)
                return
        callback()

    def wait(self, timeout: float | None) -> bool:
        """Wait for the cancel at most ``timeout`` seconds (None: without end) and tell whether it was asked."""
        with self._lock:
            if self._requested:
                return True
            if self._asked is None:
                self._asked = threading.Event()
        return self._asked.wait(timeout)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run. ``kill_grace`` is the time in seconds between TERM and KILL, the others are bytes.

    ``max_output_bytes`` bounds a result's ``output``, ``max_value_bytes`` its ``value`` as JSON text;
    ``max_log_bytes`` is for the log sink.
    """

    kill_grace: float = 5.0
    max_output_bytes: int = 256 * 1024
    max_log_bytes: int = 10 * 1024 * 1024
    max_value_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunContext:
    """One attempt of one task, with everything an executor needs.

    ``worker_type`` is the pool's; the one in ``spec`` wins. ``env`` is the environment the agent gives. Without
    ``default_cwd`` (and ``spec.cwd``) the task gets a fresh directory. Empty ``allowed_roots`` is no limit.
    ``retries`` counts the attempts that failed before; those whose worker was lost are in ``attempt`` only.
    ``python_callables`` lists what task type ``python`` may call. ``services`` are named objects that handlers need:
    ``batch_reader`` (batch id to list of TaskResult), ``secrets_file`` (path), ``worker_types`` (mapping of names),
    ``task_types`` (a TaskTypeRegistry), ``namespace`` (text), ``container_image`` (of the pool, for worker types that
    run in a container), ``delegate`` (runs its prompts elsewhere), ``far`` (another instance runs its tasks), ``jobs``
    (runs its tasks in a cluster), ``sessions`` (of AI programs). ``got`` is what the node gives it of what it needs,
    ``parents`` how the tasks ended that it comes after.
    """

    task_id: str
    pool_id: str
    worker_id: str
    attempt: int
    spec: TaskSpec
    worker_type: str | None
    env: Mapping[str, str] = field(repr=False)
    default_cwd: Path | None
    allowed_roots: tuple[Path, ...]
    log: LogSink
    cancellation: Cancellation
    limits: Limits = Limits()
    retries: int = 0
    python_callables: tuple[str, ...] = ()
    services: Mapping[str, Any] = field(default_factory=dict)
    got: Got | None = None
    parents: tuple[ParentResult, ...] = ()


class Refused(Exception):
    """The task cannot be run, or has failed, for the reason in the message: one sentence for people."""

    def __init__(self, message: str, *, retryable: Retryable | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable

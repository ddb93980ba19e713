"""One worker of a pool: takes tasks from the pool's queue and runs one at a time."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from pydantic import Field, JsonValue

from mahavishnu_pools.schemas.base import MappingValue
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.session_buddy.runner import Job, Runner, job_spec

logger = logging.getLogger(__name__)

#: Consecutive failures from which on a worker counts as unhealthy.
MAX_FAILURES = 3

#: Seconds a worker may be busy without a sign of activity before it counts as stuck.
STUCK_SECONDS = 300.0

#: Seconds a task may take when nothing else is said, waiting included.
DEFAULT_TIMEOUT = 300.0


class ExecutionResult(MappingValue):
    """How a task ended: ``status`` is completed, failed, timeout or cancelled; ``duration`` is its run in seconds."""

    task_id: str
    pool_id: str
    worker_id: str | None
    status: str
    output: str = ""
    error: str | None = None
    exit_code: int | None = None
    retryable: str | None = None
    duration: float = 0.0
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class Task:
    """A prompt on its way through a pool. Its ``timeout`` (seconds) counts from now, waiting included.

    Raises:
        InvalidField: the context cannot be used.
    """

    def __init__(
        self, prompt: str, *, context: Mapping[str, Any] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.task_id = f"sb_{uuid.uuid4().hex}"
        self.prompt = prompt
        self.context = dict(context or {})
        #: How it is run: fields of a task's specification; the pool adds its worker type.
        self.spec = job_spec(self.context, worker_type=None)
        self.timeout = timeout
        self.abandoned = False
        self._deadline = time.monotonic() + timeout
        self._run: asyncio.Task[Outcome] | None = None
        self._ended = asyncio.Event()
        self._result: ExecutionResult | None = None

    @property
    def result(self) -> ExecutionResult | None:
        """Return how it ended; None while it has not."""
        return self._result

    @property
    def done(self) -> bool:
        """Tell whether it has ended."""
        return self._ended.is_set()

    @property
    def seconds_left(self) -> float:
        """Return how much of its timeout is left."""
        return self._deadline - time.monotonic()

    def set_result(self, result: ExecutionResult) -> None:
        """End it; what was set first stays."""
        if not self.done:
            self._result = result
            self._ended.set()

    def set_error(self, error: str, *, pool_id: str, status: str = "failed", worker_id: str | None = None) -> None:
        """End it without success; ``error`` is one sentence for people."""
        self.set_result(
            ExecutionResult(task_id=self.task_id, pool_id=pool_id, worker_id=worker_id, status=status, error=error)
        )

    def attach(self, run: asyncio.Task[Outcome]) -> None:
        """Note what runs it, so that ``abandon`` can end it."""
        self._run = run

    def abandon(self) -> None:
        """Have it end without anybody waiting: it is not run, or its run is cancelled."""
        self.abandoned = True
        if self._run is not None:
            self._run.cancel()

    async def wait(self) -> ExecutionResult:
        """Wait for its end and return how it ended."""
        await self._ended.wait()
        assert self._result is not None
        return self._result


class Worker:
    """Takes tasks from the queue of its pool, one at a time, and counts how they end."""

    def __init__(
        self,
        worker_id: str,
        queue: asyncio.Queue[Task],
        runner: Runner,
        *,
        pool_id: str = "",
    ) -> None:
        self.worker_id = worker_id
        self.tasks_processed = self.tasks_completed = self.tasks_failed = self.consecutive_failures = 0
        self.last_activity = time.monotonic()
        self.current: Task | None = None
        self._queue, self._runner = queue, runner
        self._pool_id = pool_id
        self._processing: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Tell whether it takes tasks."""
        return self._processing is not None and not self._processing.done()

    @property
    def busy(self) -> bool:
        """Tell whether it has a task."""
        return self.current is not None

    async def start(self) -> None:
        """Begin to take tasks. A second call does nothing."""
        if not self.running:
            self.last_activity = time.monotonic()
            self._processing = asyncio.create_task(self._process_tasks(), name=self.worker_id)

    async def stop(self, timeout: float = 0.0) -> None:  # noqa: ASYNC109  # the name it has in the original
        """Take no more tasks; the one that runs may end within ``timeout`` seconds and is cancelled then."""
        processing, self._processing = self._processing, None
        if processing is None:
            return
        if self.current is not None and timeout > 0:
            await asyncio.wait([asyncio.create_task(self.current.wait())], timeout=timeout)
        processing.cancel()
        await asyncio.wait([processing])

    async def health_check(self) -> bool:
        """Tell whether it runs, has not failed three times in a row, and is not stuck."""
        return self.trouble() is None

    def trouble(self) -> str | None:
        """Return what is wrong with it, or None."""
        if not self.running:
            return "not running"
        if self.consecutive_failures >= MAX_FAILURES:
            return f"{self.consecutive_failures} failures in a row"
        idle = time.monotonic() - self.last_activity
        if self.busy and idle > STUCK_SECONDS:
            return f"busy for {idle:.0f} s without activity"
        return None

    def get_status(self) -> dict[str, JsonValue]:
        """Return its numbers."""
        return {
            "worker_id": self.worker_id,
            "running": self.running,
            "busy": self.busy,
            "trouble": self.trouble(),
            "tasks_processed": self.tasks_processed,
            "tasks_completed": self.tasks_completed,
            "tasks_failed": self.tasks_failed,
            "consecutive_failures": self.consecutive_failures,
        }

    async def _process_tasks(self) -> None:
        while True:
            task = await self._queue.get()
            if task.done or task.abandoned:
                continue
            self.current, self.last_activity = task, time.monotonic()
            try:
                await self._execute_task(task)
            finally:
                task.set_error("Its worker was stopped.", pool_id=self._pool_id, status="cancelled")
                self.current, self.last_activity = None, time.monotonic()

    async def _execute_task(self, task: Task) -> None:
        if task.seconds_left <= 0:
            task.set_error("Its timeout was over before a worker was free.", pool_id=self._pool_id, status="timeout")
            return
        seconds = max(0.001, round(task.seconds_left, 2))
        job = Job(task.task_id, self._pool_id, self.worker_id, task.prompt, seconds, task.spec)
        began = time.monotonic()
        run = asyncio.create_task(self._runner.run(job))
        task.attach(run)
        try:
            await asyncio.wait([run])
        except asyncio.CancelledError:
            run.cancel()
            await asyncio.wait([run])
            raise
        outcome = self._outcome(run)
        self._count(outcome)
        known = outcome.model_dump(exclude={"value"})
        ids = {"task_id": task.task_id, "pool_id": self._pool_id, "worker_id": self.worker_id}
        task.set_result(ExecutionResult(**ids, **known, duration=time.monotonic() - began))

    def _outcome(self, run: asyncio.Task[Outcome]) -> Outcome:
        if run.cancelled():
            return Outcome(status="cancelled", error="Nobody waits for it any more.")
        if (fault := run.exception()) is not None:  # a runner that breaks must end this task alone
            logger.error("A runner broke", exc_info=fault, extra={"action": "runner_broke", "pool_id": self._pool_id})
            return Outcome(status="failed", error=f"The runner broke: {fault}")
        return run.result()

    def _count(self, outcome: Outcome) -> None:
        self.tasks_processed += 1
        if outcome.status == "completed":
            self.tasks_completed += 1
            self.consecutive_failures = 0
        elif outcome.status != "cancelled":
            self.tasks_failed += 1
            self.consecutive_failures += 1

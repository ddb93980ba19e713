"""One worker of this process: it runs one task at a time, in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from mahavishnu_pools import names
from mahavishnu_pools.schemas.task import Outcome, TaskResult, TaskSpec

from .executors.interface import Cancellation
from .executors.registry import execute
from .outcome import may_retry, retry_delay
from .terminal_manager import LocalRun, TerminalManager


class WorkerStatus(StrEnum):
    """What a worker does."""

    IDLE = "idle"
    BUSY = "busy"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How the last attempt went, and when it began (seconds since the epoch)."""

    outcome: Outcome
    attempt: int
    started: float
    seconds: float


_NEVER_BEGAN = Outcome(status="cancelled", error="The worker was closed before the task began.")


class LocalWorker:
    """A worker. ``task_count`` counts the tasks it runs or that wait for it."""

    def __init__(
        self, worker_id: str, worker_type: str, *, terminal: TerminalManager, threads: Callable[[], Executor]
    ) -> None:
        self.id = worker_id
        self.worker_type = worker_type
        self.task_count = 0
        self._terminal = terminal
        self._threads = threads
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()
        self._current: Cancellation | None = None

    @property
    def closed(self) -> bool:
        """Tell whether the worker was closed."""
        return self._closed.is_set()

    async def status(self) -> WorkerStatus:
        """Return what the worker does now."""
        if self.closed:
            return WorkerStatus.CLOSED
        return WorkerStatus.BUSY if self.task_count else WorkerStatus.IDLE

    async def execute(self, spec: TaskSpec) -> TaskResult:
        """Run a task, after those that came before, and return its outcome, also when it failed.

        When the caller is cancelled, so is the task, with its whole process tree.
        """
        task_id, created = names.new_task_id(), datetime.now(UTC)
        self.task_count += 1
        try:
            async with self._turn:
                ended = await self._run(task_id, spec)
        finally:
            self.task_count -= 1
        return self._result(task_id, spec, ended, created=created)

    async def close(self) -> None:
        """End the running task, refuse those that wait, and return when nothing runs any more."""
        self._closed.set()
        if self._current is not None:
            self._current.cancel()
        await self._turn.acquire()
        self._turn.release()

    async def _run(self, task_id: str, spec: TaskSpec) -> _Ended | None:
        attempt = 1
        ended: _Ended | None = None
        while not self.closed:
            ended = await self._attempt(task_id, spec, attempt)
            if not may_retry(ended.outcome, spec, attempt - 1):
                break
            await self._pause(retry_delay(attempt - 1))
            attempt += 1
        return ended

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, or until the worker is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return

    async def _attempt(self, task_id: str, spec: TaskSpec, attempt: int) -> _Ended:
        self._current = cancellation = Cancellation()
        run = LocalRun(task_id, self.id, self.worker_type, attempt, spec, cancellation)

        def work() -> _Ended:
            started, clock = time.time(), time.monotonic()
            outcome = execute(self._terminal.context(run))
            return _Ended(outcome, attempt, started, time.monotonic() - clock)

        thread = asyncio.get_running_loop().run_in_executor(self._threads(), work)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            cancellation.cancel()
            await asyncio.wait([thread])
            raise
        finally:
            self._current = None

    def _result(self, task_id: str, spec: TaskSpec, ended: _Ended | None, *, created: datetime) -> TaskResult:
        outcome = ended.outcome if ended else _NEVER_BEGAN
        started = datetime.fromtimestamp(ended.started, UTC) if ended else None
        return TaskResult(
            task_id=task_id,
            worker_id=self.id,
            task_type=spec.task_type,
            **outcome.model_dump(exclude={"retryable"}),
            duration=ended.seconds if ended else None,
            attempts=ended.attempt if ended else 0,
            created_at=created,
            started_at=started,
            finished_at=datetime.now(UTC),
        )

"""A pool: exactly three workers on one queue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.session_buddy.runner import PromptRunner, Runner, job_spec
from mahavishnu_pools.session_buddy.worker import DEFAULT_TIMEOUT, ExecutionResult, Task, Worker

#: Workers of every pool; it cannot be changed.
WORKERS = 3

#: Tasks that may wait in a pool; callers of further ones wait until there is room.
QUEUE_SIZE = 1000

#: Seconds that tasks may go on when a pool is shut down.
SHUTDOWN_SECONDS = 5.0

#: The longest a task may take, in seconds: a week.
MAX_TIMEOUT = 7 * 86400.0


class WorkerPool:
    """Three workers on one queue. ``worker_type`` runs the prompts of tasks that name none in their context.

    Without a ``runner`` the pool has one of its own, which ends with it.
    """

    def __init__(
        self,
        pool_id: str,
        *,
        worker_type: str | None = None,
        runner: Runner | None = None,
        queue_size: int = QUEUE_SIZE,
    ) -> None:
        self.pool_id = pool_id
        self.worker_type = worker_type
        self.workers: list[Worker] = []
        self.running = False
        self.tasks_submitted = self.tasks_completed = self.tasks_failed = 0
        self._queue: asyncio.Queue[Task] = asyncio.Queue(queue_size)
        self._runner = runner or PromptRunner()
        self._owns_runner = runner is None
        self._open: set[Task] = set()

    @property
    def load(self) -> int:
        """Return how many tasks wait or run."""
        return len(self._open)

    async def initialize(self) -> None:
        """Start the three workers. A second call does nothing."""
        if self.running:
            return
        self.workers = [
            Worker(f"{self.pool_id}-worker-{number}", self._queue, self._runner, pool_id=self.pool_id)
            for number in range(WORKERS)
        ]
        for worker in self.workers:
            await worker.start()
        self.running = True

    async def execute(
        self,
        prompt: str,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the name it has in the original
    ) -> ExecutionResult:
        """Run one prompt and return how it ended; a failure is in the result and is not raised.

        ``timeout`` is in seconds, waiting included (None: 300). A cancel of this call ends the task.

        Raises:
            InvalidField: prompt, context or timeout cannot be used.
            PoolGone: the pool is not running (any more).
        """
        task = Task(_checked_prompt(prompt), context=context, timeout=_checked_timeout(timeout))
        task.spec = job_spec(task.context, worker_type=self.worker_type)
        if not self.running:
            raise errors.PoolGone.of(self.pool_id)
        self.tasks_submitted += 1
        self._open.add(task)
        try:
            result = await self._through(task)
        except asyncio.CancelledError:
            task.abandon()
            raise
        finally:
            self._open.discard(task)
        self.tasks_completed += result.status == "completed"
        self.tasks_failed += result.status in ("failed", "timeout")
        return result

    async def execute_batch(
        self,
        prompts: Sequence[str],
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the name it has in the original
    ) -> list[ExecutionResult]:
        """Run several prompts at once and return how each ended, in their order; ``timeout`` is that of each.

        Raises:
            InvalidField: a prompt, the context or the timeout cannot be used; nothing was run.
            PoolGone: the pool is not running (any more).
        """
        for prompt in prompts:
            _checked_prompt(prompt)
        return list(await asyncio.gather(*(self.execute(prompt, context, timeout) for prompt in prompts)))

    async def health_check(self) -> dict[str, JsonValue]:
        """Return ``status`` (healthy, or degraded when any worker is not) and the numbers of workers."""
        healthy = [await worker.health_check() for worker in self.workers]
        whole = self.running and all(healthy)
        troubles = {worker.worker_id: found for worker in self.workers if (found := worker.trouble()) is not None}
        return {
            "pool_id": self.pool_id,
            "status": "healthy" if whole else "degraded",
            "workers_healthy": sum(healthy),
            "workers_total": WORKERS,
            "troubles": dict(troubles),
        }

    def get_status(self) -> dict[str, JsonValue]:
        """Return the pool's numbers; ``success_rate`` is completed of submitted tasks (1.0 without any)."""
        rate = self.tasks_completed / self.tasks_submitted if self.tasks_submitted else 1.0
        return {
            "pool_id": self.pool_id,
            "running": self.running,
            "worker_type": self.worker_type,
            "workers": len(self.workers),
            "queue_size": self._queue.qsize(),
            "tasks_running": sum(worker.busy for worker in self.workers),
            "tasks_submitted": self.tasks_submitted,
            "tasks_completed": self.tasks_completed,
            "tasks_failed": self.tasks_failed,
            "success_rate": rate,
            "worker_status": [worker.get_status() for worker in self.workers],
        }

    async def shutdown(self, timeout: float = SHUTDOWN_SECONDS) -> None:  # noqa: ASYNC109  # as in the original
        """Take no more tasks, let those there are end within ``timeout`` seconds, and cancel the rest."""
        self.running = False
        if self._open and timeout > 0:
            await asyncio.wait([asyncio.create_task(task.wait()) for task in self._open], timeout=timeout)
        for task in list(self._open):
            task.abandon()
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        for task in list(self._open):
            task.set_error("The pool was shut down.", pool_id=self.pool_id, status="cancelled")
        await _empty(self._queue)
        if self._owns_runner:
            await self._runner.close()

    async def _through(self, task: Task) -> ExecutionResult:
        try:
            async with asyncio.timeout(task.seconds_left):
                await self._queue.put(task)
        except TimeoutError:
            task.set_error("There was no room in the pool's queue in time.", pool_id=self.pool_id, status="timeout")
        waiting = asyncio.get_running_loop().call_later(max(0.0, task.seconds_left), self._give_up, task)
        try:
            return await task.wait()
        finally:
            waiting.cancel()

    def _give_up(self, task: Task) -> None:
        """End a task that still waits when its time is over; one that runs is ended by its runner."""
        if all(worker.current is not task for worker in self.workers):
            text = "Its timeout was over before a worker was free."
            task.set_error(text, pool_id=self.pool_id, status="timeout")


async def _empty(queue: asyncio.Queue[Task]) -> None:
    """Take all out; each step lets one go on that waited for room, and then sees that its task has ended."""
    while not queue.empty():
        queue.get_nowait()
        await asyncio.sleep(0)


def _checked_prompt(prompt: object) -> str:
    if not isinstance(prompt, str) or not prompt.strip():
        raise errors.InvalidField.of("prompt", "must be a text that is not blank", "Say what is to be done.")
    return prompt


def _checked_timeout(timeout: float | None) -> float:
    seconds = DEFAULT_TIMEOUT if timeout is None else timeout
    if not math.isfinite(seconds) or not 0 < seconds <= MAX_TIMEOUT:
        raise errors.InvalidField.of("timeout", f"is {seconds:g}", f"Give seconds above 0, at most {MAX_TIMEOUT:.0f}.")
    return seconds

"""Workers inside this process, without pools, Redis or an agent; ``docs/migration.md`` says when to leave them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from mahavishnu_pools import errors
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schemas.task import TaskResult, TaskSpec

from .local_worker import LocalWorker
from .terminal_manager import TerminalManager

#: What may be given as a task.
Task = TaskSpec | Mapping[str, Any]

#: Workers one manager may have, as pools may.
MAX_WORKERS = 1000


class WorkerManager:
    """Workers of this process, each running one task at a time. Belongs to one event loop.

    At most ``max_concurrent`` tasks run at once (None: the setting ``max_concurrent_workers``); others wait in line.
    ``terminal_mgr`` is another name for ``terminal_manager``; None makes one from the settings.

    Raises:
        InvalidField: both names are used for different managers, or ``max_concurrent`` is no number from 1.
        InvalidConfig: workers are switched off by ``workers_enabled: false``.
    """

    def __init__(
        self,
        terminal_manager: TerminalManager | None = None,
        max_concurrent: int | None = None,
        *,
        terminal_mgr: TerminalManager | None = None,
    ) -> None:
        if None not in (terminal_manager, terminal_mgr) and terminal_manager is not terminal_mgr:
            raise errors.InvalidField.of("terminal_mgr", "is another than terminal_manager", "Give one of the two.")
        self.terminal_manager = terminal_manager or terminal_mgr or TerminalManager.create()
        settings = self.terminal_manager.settings
        if not settings.workers_enabled:
            raise errors.InvalidConfig(
                "Workers are switched off (workers_enabled: false). Set it to true, or use pools.",
                setting="workers_enabled",
            )
        given = settings.max_concurrent_workers if max_concurrent is None else max_concurrent
        self.max_concurrent = _number(given, field="max_concurrent")
        self._workers: dict[str, LocalWorker] = {}
        self._executor: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_all()

    async def spawn_workers(self, worker_type: str | None = None, count: int = 1) -> list[str]:
        """Make workers of one type (None: the default worker type) and return their ids.

        Raises:
            UnknownChoice: there is no such worker type.
            MissingProgram: its program is not on PATH.
            InvalidField: the number cannot be.
        """
        found = self.terminal_manager.worker_type(worker_type)
        if len(self._workers) + _number(count, field="count") > MAX_WORKERS:
            raise errors.InvalidField.of("count", f"gives more than {MAX_WORKERS} workers", "Close some, or use pools.")
        made = [self._make(found.name) for _ in range(count)]
        self._workers |= {worker.id: worker for worker in made}
        return [worker.id for worker in made]

    async def execute_task(self, worker_id: str, task: Task) -> TaskResult:
        """Run a task on a worker, after those it has, and return its outcome, also when it failed.

        Raises:
            NotFound: there is no such worker.
            UnknownChoice, InvalidField: the task cannot be used.
        """
        worker, spec = self._worker(worker_id), self._timed(task_spec(task))
        self._check([spec], [worker])
        return await worker.execute(spec)

    async def execute_batch(self, worker_ids: Iterable[str], tasks: Iterable[Task]) -> list[TaskResult]:
        """Spread tasks over workers, each taking the next as soon as it is free; the outcomes are in input order.

        All tasks are checked before the first runs.

        Raises:
            NotFound: there is no such worker.
            UnknownChoice, InvalidField: a task cannot be used, or no worker is given.
        """
        workers = [self._worker(worker_id) for worker_id in dict.fromkeys(worker_ids)]
        if not workers:
            raise errors.InvalidField.of("worker_ids", "is empty", "Give the ids that spawn_workers returned.")
        specs = [self._timed(task_spec(task)) for task in tasks]
        self._check(specs, workers)
        waiting = iter(enumerate(specs))
        found: dict[int, TaskResult] = {}

        async def work(worker: LocalWorker) -> None:
            for index, spec in waiting:
                found[index] = await worker.execute(spec)
                if worker.closed:
                    return

        await asyncio.gather(*(work(worker) for worker in workers))
        for index, spec in waiting:  # all workers were closed: they refuse what is left
            found[index] = await workers[0].execute(spec)
        return [found[index] for index in range(len(specs))]

    async def close_worker(self, worker_id: str) -> None:
        """Close a worker: its running task is ended, those that wait for it are cancelled.

        Raises:
            NotFound: there is no such worker.
        """
        worker = self._worker(worker_id)
        del self._workers[worker_id]
        await worker.close()

    async def close_all(self) -> None:
        """Close all workers; new ones may be spawned afterwards. A second call does nothing."""
        workers, self._workers = list(self._workers.values()), {}
        await asyncio.gather(*(worker.close() for worker in workers))
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _make(self, worker_type: str) -> LocalWorker:
        worker_id = f"worker_{secrets.token_hex(6)}"
        return LocalWorker(worker_id, worker_type, terminal=self.terminal_manager, threads=self._threads)

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.max_concurrent, thread_name_prefix="mahavishnu-worker")
        return self._executor

    def _worker(self, worker_id: str) -> LocalWorker:
        try:
            return self._workers[worker_id]
        except KeyError:
            raise errors.NotFound(
                f"No worker has the id {worker_id!r}. Use one that spawn_workers returned and that is not closed.",
                worker_id=worker_id,
            ) from None

    def _timed(self, spec: TaskSpec) -> TaskSpec:
        seconds = self.terminal_manager.settings.worker_timeout_seconds
        if seconds is None or "timeout" in spec.model_fields_set:
            return spec
        return spec.model_copy(update={"timeout": seconds})

    def _check(self, specs: Iterable[TaskSpec], workers: Iterable[LocalWorker]) -> None:
        kinds = {worker.worker_type for worker in workers}
        for spec in specs:
            if spec.approval is not None:
                problem = "cannot be waited for by workers without a pool"
                raise errors.InvalidField.of("approval", problem, "Submit the task with PoolManager.")
            if spec.after:
                problem = "is nothing that workers without a pool wait for"
                raise errors.InvalidField.of("after", problem, "Submit the task with PoolManager.")
            if spec.needs:
                problem = "cannot be looked after by workers without a pool"
                raise errors.InvalidField.of("needs", problem, "Submit the task with PoolManager.")
            for kind in kinds:
                self.terminal_manager.check(spec, worker_type=self.terminal_manager.worker_types[kind])


def _number(given: int, *, field: str) -> int:
    if type(given) is not int or given < 1:
        raise errors.InvalidField.of(field, f"is {given!r}", "Give a whole number from 1.")
    return given

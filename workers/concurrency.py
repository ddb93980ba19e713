"""The concurrency pool of a worker group: threads that grow and shrink while tasks run.

Celery finds it by ``worker_pool``. ``grow`` and ``shrink`` set the limit and return at
once; a running task is never interrupted by them. Threads start when they are needed and are daemons: a stop never
waits for one, the claim loop decides how long running tasks get.
"""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from celery.concurrency.base import BasePool, apply_target

from mahavishnu_pools.process_logs import about

from .leaving import record_leaving

logger = logging.getLogger(__name__)

#: Stack of a worker thread in bytes. Python frames live on the heap, but pydantic's recursion (it gives up at a depth
#: of 255) does not: with 1 MiB a deeply nested value ended the process. Only what is touched takes memory.
STACK_BYTES = 2 * 1024 * 1024

#: The first slot id; slot ids stand where Celery expects a process id and must not look like one of init's.
FIRST_SLOT = 1

Work = Callable[[], None]


class NoRoom(Exception):
    """The machine cannot start another thread now (its limit of processes, or of memory)."""


class SlotThreads:
    """Threads that run what they are given, never more than there is work at once, nor more than ``most`` (None: any).

    What comes when all are at work waits for one of them.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return self._threads

    @property
    def busy(self) -> int:
        """Return how many threads have work, or will have."""
        with self._lock:
            return self._threads - self._idle

    def _full(self) -> bool:
        # One thread there is at least: what was claimed before the last worker was taken away still runs.
        return self._most is not None and self._threads >= max(1, self._most)

    def submit(self, work: Work) -> None:
        """Run the work in an idle thread, else in a new one, else in the first that is through with its own.

        Raises:
            NoRoom: a new one is needed and the machine has no room for it.
        """
        with self._lock:
            if self._idle > 0 or self._full():
                self._idle -= 1  # below zero, that many wait
            else:
                self._start()
        self._work.put(work)

    def trim(self, most: int) -> None:
        """Have no more threads than this number: idle ones beyond it end, and what waits gets those that are added."""
        with self._lock:
            self._most = most
            surplus = min(self._idle, self._threads - most)
            for _ in range(max(0, surplus)):
                self._idle -= 1
                self._threads -= 1
                self._work.put(None)
            try:
                while self._idle < 0 and not self._full():
                    self._start()
                    self._idle += 1
            except NoRoom as exc:
                logger.warning("What waits for a thread goes on waiting: %s", exc)

    def _start(self) -> None:
        before = threading.stack_size(STACK_BYTES)
        try:
            threading.Thread(target=self._loop, name=f"worker-{next(self._numbers)}", daemon=True).start()
            self._threads += 1
        except RuntimeError as exc:
            raise NoRoom(str(exc)) from exc
        finally:
            threading.stack_size(before)

    def _loop(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException:  # the border of a worker thread: whatever a task raised (sys.exit too), it goes on
                logger.exception("A worker's work raised")
            del work
            with self._lock:
                if self._most is not None and self._threads > max(1, self._most):
                    self._threads -= 1
                    return
                self._idle += 1


class Job:
    """What Celery gets back for a task it handed over; ``terminate`` asks for the end of that task alone."""

    def __init__(self, terminate: Callable[[], None]) -> None:
        self._terminate = terminate

    def terminate(self, signal: int | None = None) -> None:
        """Ask for the task's end."""
        self._terminate()


class ThreadPool(BasePool):
    """Celery's concurrency pool on growing and shrinking threads."""

    signal_safe = False
    body_can_be_buffer = True
    uses_semaphore = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.threads = SlotThreads(self.num_processes)
        self._slots = itertools.count(FIRST_SLOT)
        self._jobs: weakref.WeakValueDictionary[int, Job] = weakref.WeakValueDictionary()
        #: Called with a task id when Celery itself hands a task over.
        self.on_job_applied: Callable[[str], None] = lambda task_id: None
        #: Called with a task id and the recorded failure when such a task raised what ends a program.
        self.on_job_failed: Callable[[str, BaseException], None] = lambda task_id, failure: None
        #: Called with a task id when such a task is through.
        self.on_job_done: Callable[[str], None] = lambda task_id: None
        #: Called with a task id when somebody asks for its end by slot.
        self.on_terminate_job: Callable[[str], None] = lambda task_id: None
        #: Called with the change before the limit changes from outside; returns the new limit, or refuses by raising.
        self.on_resize: Callable[[int], int] = lambda change: max(0, self.num_processes + change)

    @property
    def num_processes(self) -> int:
        """Return the number of workers, 0 when paused."""
        return int(self.limit or 0)

    def resize(self, limit: int) -> None:
        """Set the number of workers without telling anybody."""
        self.limit = limit
        self.threads.trim(limit)

    def grow(self, n: int = 1) -> None:
        """Add workers (Celery's ``pool_grow``)."""
        self.resize(self.on_resize(n))

    def shrink(self, n: int = 1) -> None:
        """Take workers away (Celery's ``pool_shrink``); running tasks go on, no thread is interrupted."""
        self.resize(self.on_resize(-n))

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        error_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Job:
        """Run a Celery task that Celery's own consumer handed over; its slot id stands for a process id."""
        task_id = str(args[1]) if args and len(args) > 1 else ""
        slot = next(self._slots)
        job = Job(lambda: self.on_terminate_job(task_id))
        self._jobs[slot] = job
        self.on_job_applied(task_id)

        def work(job: Job = job) -> None:
            try:
                with about(task_id=task_id):
                    apply_target(
                        target, args or (), kwargs, callback, accept_callback, pid=slot, propagate=BaseException
                    )
            except Exception:
                raise
            except BaseException as exc:  # noqa: BLE001
                # sys.exit and the like in a user's task: it ends the task, not the thread.
                failure = record_leaving(task_id, exc, error_callback) if error_callback else None
                if failure is not None:
                    self.on_job_failed(task_id, failure)
            finally:
                self.on_job_done(task_id)

        self.threads.submit(work)
        return job

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Ask for the end of the task in a slot."""
        job = self._jobs.get(pid)
        if job is not None:
            job.terminate(signal)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "threads": len(self.threads)}

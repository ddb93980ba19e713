"""A worker group's work for one pool: lease, claim loop, runner and what ties them to Celery's worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pool_changes import grow_pool
from mahavishnu_pools.store.pools import read_pools

from .celery_tasks import CeleryTasks
from .claim_loop import ClaimLoop
from .claiming import HAND_BACK, LoopConfig, LoopHooks
from .claims import ClaimTable, Running
from .concurrency import ThreadPool
from .dispatching import Dispatcher
from .events import TaskEvents
from .lease import Lease
from .logs import LogWriter
from .runner import GroupContext, TaskRunner

logger = logging.getLogger(__name__)

#: Exit code of a group whose lease was reaped (EX_TEMPFAIL: start it again).
EXIT_LEASE_LOST = 75

#: Seconds between two looks whether everything has ended, when nobody tells.
LOOK_AGAIN = 0.1

#: Connections the claim loop, logs and control commands of a group share.
CONNECTIONS = 3


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """How one group works. Times are seconds; ``replicas`` groups share the pool's workers, unless each has a ``fixed``
    number.

    ``keep_alive`` is True where no controller refreshes the lease. ``tick`` is called about once a second. ``alone``
    runs the pool's suspects, one at a time, and ends when there are none. ``untold`` is called while Celery is to be
    told of tasks that ended without it. ``on_drained`` is called when nothing runs any more; until it returns
    the lease is open, so that the pool cannot be removed.
    """

    context: GroupContext
    lease: str
    lease_ttl: float
    replicas: int
    drain_timeout: float
    max_log_bytes: int
    keep_alive: bool
    tick: Callable[[], None]
    on_ready: Callable[[], None]
    on_exit: Callable[[int], None]
    alone: bool = False
    untold: Callable[[], None] = lambda: None
    on_drained: Callable[[], None] = lambda: None
    fixed: int | None = None

    def share(self, workers: int) -> int:
        """Return how many of the pool's wanted workers this group has."""
        return 1 if self.alone else self.fixed or -(-workers // max(1, self.replicas))


class PoolGroup:
    """Runs tasks of one pool on a concurrency pool. Made after fork; ``close`` ends everything it opened."""

    def __init__(self, store: SyncStore, threads: ThreadPool, *, hostname: str, options: GroupOptions) -> None:
        self.options = options
        self.hostname = hostname
        context = options.context
        self._threads = threads
        self._store = store
        self._bell_store = SyncStore(store.url, namespace=store.namespace, timeout=10.0, connections=1)
        self._log_store = SyncStore(store.url, namespace=store.namespace, timeout=store.timeout, connections=1)
        self.table = ClaimTable()
        self.events = TaskEvents(hostname=hostname, pool_id=context.pool_id)
        self.logs = LogWriter(self._log_store, ttl=context.result_ttl, max_bytes=options.max_log_bytes)
        self.lease = Lease(store, options.lease, pool_id=context.pool_id, node=context.node, ttl=options.lease_ttl)
        whose = (options.lease, context.pool_id, hostname)
        config = LoopConfig(*whose, context.result_ttl, options.alone, context.worker_type)
        self.loop = ClaimLoop(store, self._bell_store, config, self.table, self._hooks())
        self.runner = TaskRunner(context, logs=self.logs, events=self.events, end=self.loop.end_here)
        self.celery = CeleryTasks(self.table, pool_id=context.pool_id, result_ttl=context.result_ttl, end=self.loop.end)
        self._dispatcher = Dispatcher(context, self.loop, runner=self.runner, celery=self.celery)
        self._ready = self._lost = self._idle = False
        self._quiet = threading.Event()

    def _hooks(self) -> LoopHooks:
        return LoopHooks(
            slots=lambda: 0 if self._dispatcher.crowded else self._threads.num_processes,
            start=self._start,
            ended=self._ended,
            pool=self._pool_changed,
            idle=self._nothing_to_do,
            lease_lost=self._lease_lost,
            tick=self.options.tick,
            untold=self.options.untold,
            foreign=lambda: bool(self.celery.deliveries),
        )

    def start(self) -> None:
        """Open the lease and begin to claim."""
        self.lease.open()
        if self.options.keep_alive:
            self.lease.keep_alive(self._lease_lost)
        self._threads.on_resize = self._resized
        self._threads.on_job_applied = self.celery.applied
        self._threads.on_job_failed = lambda one, failure: self.celery.postrun(one, state="FAILURE", value=failure)
        self._threads.on_job_done = self.celery.job_done
        self._threads.on_terminate_job = lambda task_id: self.cancel(task_id, "It was revoked.")
        self.loop.start()

    def stop(self) -> None:
        """Claim no more, let tasks finish until the deadline, end and hand back the rest, close the lease."""
        self.loop.stop_claiming()
        self._drain()
        self.loop.stop(timeout=self._store.timeout)
        self.logs.close()
        self.options.on_drained()
        self.lease.close(result_ttl=self.options.context.result_ttl, within=self._store.timeout)
        self.celery.close()
        for store in (self._bell_store, self._log_store):
            store.close()

    def _drain(self) -> None:
        grace = self.options.context.limits.kill_grace + 2
        if self._lost:
            # Somebody else may run these tasks by now: their processes must have ended before this one goes.
            self._wait_until(lambda: not self._threads.threads.busy, within=grace)
        elif not self._wait_until(lambda: not len(self.table), within=self.options.drain_timeout):
            self.table.hand_back()
            self._wait_until(lambda: not len(self.table), within=grace)

    def cancel(self, task_id: str, reason: str) -> None:
        """End a running task of this group because somebody asked for it."""
        running = self.table.get(task_id)
        if running is not None:
            running.reason = reason
            running.cancellation.cancel()

    def _wait_until(self, done: Callable[[], bool], *, within: float) -> bool:
        deadline = time.monotonic() + within
        while not done():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._quiet.wait(min(remaining, LOOK_AGAIN))
            self._quiet.clear()
        return True

    # ── hooks of the claim loop ──

    def _start(self, running: Running) -> bool:
        self._idle = False
        return self._dispatcher.start(running, self._threads.threads)

    def _ended(self, held: leases.Held, verdict: str) -> None:
        if verdict == "fenced":
            logger.warning("The outcome of %s came too late: somebody else has the task", held.task_id)
        self._quiet.set()

    def _pool_changed(self, status: str, workers: int) -> None:
        if status == HAND_BACK:
            self.table.hand_back()
        share = self.options.share(workers)
        if workers and share != self._threads.num_processes:
            logger.info("Pool %s has %d workers now", self.options.context.pool_id, share)
            self._threads.resize(share)
            self.loop.ring()
        if not self._ready:
            self._ready = True
            self.options.on_ready()

    def _nothing_to_do(self) -> None:
        """End a group that runs suspects at the second look that finds none."""
        if self.options.alone and self._idle:
            self.options.on_exit(0)
        self._idle = True

    def _lease_lost(self) -> None:
        self._lost = True
        for running in self.table.clear():
            running.cancellation.cancel(leave=True)
        self.loop.stop_claiming()
        pool_id = self.options.context.pool_id
        if is_closed(self._store, pool_id):
            logger.info("Pool %s was closed; what still ran is ended", pool_id)
        else:
            logger.error("The lease of %s was taken back; its tasks are ended", pool_id)
        self.options.on_exit(EXIT_LEASE_LOST)

    # ── hooks of the concurrency pool ──

    def _resized(self, change: int) -> int:
        return _store_size(self._store, self.options, change=change)


def is_closed(store: SyncStore, pool_id: str) -> bool:
    """Tell whether a pool has been closed, which takes the leases of its groups back."""
    try:
        return store.run(read_pools(pool_id)).one(pool_id).status is PoolStatus.STOPPED
    except errors.NotFound:
        return True
    except errors.RedisUnavailable:
        return False


def _store_size(store: SyncStore, options: GroupOptions, *, change: int) -> int:
    """Store a worker count that was changed through Celery's remote control, within the pool's limits."""
    if options.alone:
        return 1
    if options.fixed is not None:
        config = store.run(read_pools(options.context.pool_id)).one(options.context.pool_id).config
        raise errors.ScalingNotSupported(
            f"Each Pod of pool {config.name} has {options.fixed} workers. 'mahavishnu pools scale' changes the "
            "number of Pods.",
            pool_type=config.pool_type,
        )
    total = store.run(grow_pool(options.context.pool_id, change * max(1, options.replicas)))
    return options.share(total)

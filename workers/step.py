"""The bootstep that makes a Celery worker a worker group: one ``PoolGroup`` for each pool queue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from celery import bootsteps, signals
from celery.worker import state

from mahavishnu_pools import names
from mahavishnu_pools.broker.control import revoke_in_store
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.limits import limit_rate
from mahavishnu_pools.store.pools import read_pools
from mahavishnu_pools.store.steps import run_steps_sync

from .celery_run_task import GROUPS
from .control import Commands, install_commands
from .pool_group import CONNECTIONS, GroupOptions, PoolGroup
from .results import share_connections
from .telling import Teller

logger = logging.getLogger(__name__)

#: Makes a store after fork; makes the options of a pool's group for the app that the worker runs.
StoreFactory = Callable[[int], SyncStore]
OptionsFactory = Callable[[Any, str, SyncStore], GroupOptions]


class PoolStep(bootsteps.StartStopStep):
    """Runs the groups of a worker's pool queues. ``configure`` makes a subclass for an app."""

    requires = ("celery.worker.components:Pool",)
    label = "Pools"

    make_store: StoreFactory
    make_options: OptionsFactory

    @classmethod
    def configure(cls, *, make_store: StoreFactory, make_options: OptionsFactory) -> type[PoolStep]:
        """Return the step for an app, with how its store and options are made."""
        members = {"make_store": staticmethod(make_store), "make_options": staticmethod(make_options), "name": "pools"}
        return type("ConfiguredPoolStep", (cls,), members)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        worker.pool_groups = {}
        setattr(worker.app, GROUPS, worker.pool_groups)
        self._worker = worker
        self._store: SyncStore | None = None

    def include_if(self, worker: Any) -> bool:
        """Tell whether the worker was given a pool's queue."""
        return bool(self._pool_ids(worker))

    def create(self, worker: Any) -> PoolStep:
        """Have ``start`` and ``stop`` called."""
        return self

    def start(self, worker: Any) -> None:
        """Connect, open the leases and begin to claim."""
        self._store = self.make_store(CONNECTIONS)
        share_connections(worker.app.backend)
        for pool_id in self._pool_ids(worker):
            options = self.make_options(worker.app, pool_id, self._store)
            teller = Teller(worker.app, self._store, name=_app_name(self._store, pool_id), pool_id=pool_id)
            options = replace(options, untold=teller.look)
            group = PoolGroup(self._store, worker.pool, hostname=worker.hostname, options=options)
            worker.pool_groups[pool_id] = group
            group.start()
        install_commands(Commands(self._revoke, self._limit_rate))
        signals.task_postrun.connect(self._postrun, weak=False)
        signals.after_task_publish.connect(self._published, weak=False)

    def stop(self, worker: Any) -> None:
        """Drain, hand back and close."""
        for group in worker.pool_groups.values():
            group.stop()
        signals.task_postrun.disconnect(self._postrun)
        signals.after_task_publish.disconnect(self._published)
        if self._store is not None:
            self._store.close()

    terminate = stop

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Follow Celery's event loop, a new one after every lost broker connection."""
        for group in worker.pool_groups.values():
            group.celery.register(worker.consumer, hub)
            group.events.dispatcher = worker.consumer.event_dispatcher

    def _pool_ids(self, worker: Any) -> list[str]:
        found = (names.pool_of(queue) for queue in worker.app.amqp.queues.consume_from)
        return [pool_id for pool_id in found if pool_id]

    def _postrun(self, task_id: str | None = None, state: str | None = None, retval: Any = None, **_: Any) -> None:
        for group in self._worker.pool_groups.values():
            group.celery.postrun(task_id, state=state, value=retval)

    def _published(self, headers: Any = None, routing_key: str | None = None, **_: Any) -> None:
        task_id = headers.get("id") if isinstance(headers, dict) else None
        for group in self._worker.pool_groups.values():
            group.celery.sent(task_id, routing_key or "")

    def _revoke(self, task_ids: Sequence[str]) -> list[str]:
        if self._store is None:
            return list(task_ids)
        group = next(iter(self._worker.pool_groups.values()))
        return revoke_in_store(self._store, task_ids, result_ttl=group.options.context.result_ttl)

    def _limit_rate(self, rate: str | None) -> None:
        store = self._store
        if store is None:
            return
        for pool_id in self._worker.pool_groups:
            run_steps_sync(store, limit_rate(pool_id, rate=rate))


def _app_name(store: SyncStore, pool_id: str) -> str:
    found = store.run(read_pools(pool_id)).pools
    return (found[0].config.celery_app if found else None) or ""


def stop_worker(code: int) -> None:
    """Have this process's Celery worker stop with an exit code; its event loop looks at this within a second."""
    state.should_stop = code

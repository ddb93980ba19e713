"""Runs one worker group in this process, for the node agent."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from mahavishnu_pools import errors, names, tracing, worker_types
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import SyncStore

from .agent.start import GroupFunction, GroupStart
from .app import GroupPlace, group_context, import_modules, make_app, own_app, use_app
from .delegation import Bridge, open_delegate, retire
from .pool_group import GroupOptions
from .step import PoolStep, stop_worker
from .task_types.registry import find_plug_ins

logger = logging.getLogger(__name__)

#: Seconds between two of Celery's heartbeats, which tell Flower that a group is there.
HEARTBEAT = 5


class CeleryGroup:
    """Runs the Celery worker of a pool; ``prepare`` makes the settings, the app and what is found in packages."""

    def __call__(
        self, start: GroupStart, *, tick: Callable[[], None], news: Callable[[str, dict[str, Any]], None]
    ) -> int:
        """Run until it is told to stop; returns the exit code.

        ``tick`` is called about once a second while the claim loop lives, ``news`` with ``ready`` once it consumes.
        TERM makes it drain: claim no more, finish, hand back the rest.
        """
        return self.prepare(start)(start, tick=tick, news=news)

    def prepare(self, start: GroupStart) -> GroupFunction:
        """Return the function with all made that no pool and no module of the user's has a say in."""
        settings = start.load_settings()
        find_plug_ins()
        app = None
        if settings.celery_app is None:
            app = own_app(settings, start.redis_url)
            # Made at its first use, for which Celery reads the files of every installed package.
            _ = app.backend
        return functools.partial(_run, settings, app)


run_group = CeleryGroup()


def _run(
    settings: Settings,
    own: Celery | None,
    start: GroupStart,
    *,
    tick: Callable[[], None],
    news: Callable[[str, dict[str, Any]], None],
) -> int:
    config = start.pool_config()
    os.environ["MAHAVISHNU_LEASE"] = start.lease
    tracing.set_up("mahavishnu-worker")
    _check_image(start, config, settings)
    import_modules((*settings.imports, *config.imports))
    user_app = config.celery_app or settings.celery_app
    app = make_app(settings, start.redis_url, user_app=user_app) if user_app or own is None else use_app(own)
    with _bridge(start, settings, config) as bridged:
        app.steps["worker"].add(_step(start, settings, bridged, tick=tick, news=news))
        worker = _worker(app, start)
        _install_stop_signals(worker)
        worker.start()
        tracing.shut_down()
        return int(worker.exitcode or 0)


def _check_image(start: GroupStart, config: PoolConfig, settings: Settings) -> None:
    """Refuse a worker type whose program is missing in the image of a Pod; nobody can install it there."""
    if not config.is_deployment or config.kubernetes is None or config.worker_type is None:
        return
    known = worker_types.load_worker_types(settings.worker_types_file)
    kind = worker_types.get_worker_type(config.worker_type, known=known)
    if worker_types.find_program(kind) is None:
        raise errors.InvalidConfig(
            f"worker_type: {kind.needs!r}, which worker type {kind.name!r} runs, is not in the image "
            f"{config.kubernetes.image}. Add it there, or name another image or worker type.",
            worker_type=kind.name,
        )


@dataclass(frozen=True, slots=True)
class _Bridged:
    """The bridge of a pool that delegates (None: it does not), and what retires it, once for all."""

    delegate: Bridge | None
    retire: Callable[[], None]


@contextmanager
def _bridge(start: GroupStart, settings: Settings, config: PoolConfig) -> Iterator[_Bridged]:
    """Hold a pool's bridge; made before the worker, whose start would hide why it failed."""
    with ExitStack() as retiring:
        store = SyncStore.from_settings(settings, start.redis_url, connections=1)
        retiring.callback(store.close)
        delegate = open_delegate(config, settings, store, pool_id=start.pool_id)
        if delegate is not None:
            retiring.callback(retire, delegate, store, start.pool_id)
        yield _Bridged(delegate, retiring.close)


def _worker(app: Celery, start: GroupStart) -> Any:
    return app.Worker(
        hostname=names.worker_node(start.pool_id, start.node, alone=start.alone),
        queues=[names.queue_of(start.pool_id)],
        concurrency=start.share,
        without_gossip=True,
        without_mingle=True,
        heartbeat_interval=HEARTBEAT,
        quiet=True,
        pool_cls=app.conf.worker_pool,
        loglevel=logging.getLevelName(logging.getLogger().getEffectiveLevel()),
    )


def _step(
    start: GroupStart,
    settings: Settings,
    bridged: _Bridged,
    *,
    tick: Callable[[], None],
    news: Callable[[str, dict[str, Any]], None],
) -> type[PoolStep]:
    config = start.pool_config()

    def make_store(connections: int) -> SyncStore:
        return SyncStore.from_settings(settings, start.redis_url, connections=connections)

    def watching_tick() -> None:
        tick()
        if start.agent_pid and os.getppid() != start.agent_pid:
            logger.error("The agent is gone; the group stops")
            stop_worker(0)

    def leave() -> None:
        # While the lease is open the pool cannot be removed: who closed it finds nothing of it left on its server.
        bridged.retire()
        news("leaving", {})

    def make_options(app: Celery, pool_id: str, store: SyncStore) -> GroupOptions:
        roots = tuple(Path(root) for root in config.allowed_roots or start.allowed_roots)
        place = GroupPlace(pool_id, start.node, start.worker_type, roots, config, bridged.delegate)
        context = group_context(app, settings, store, place=place)
        return GroupOptions(
            context=context,
            lease=start.lease,
            lease_ttl=settings.lease_ttl,
            replicas=start.replicas,
            drain_timeout=settings.drain_timeout,
            max_log_bytes=settings.max_log_bytes,
            keep_alive=False,
            tick=watching_tick,
            on_ready=lambda: news("ready", {"workers": start.share}),
            on_exit=stop_worker,
            alone=start.alone,
            on_drained=leave,
            fixed=start.fixed,
        )

    return PoolStep.configure(make_store=make_store, make_options=make_options)


def _install_stop_signals(worker: Any) -> None:
    """Have TERM and INT drain the worker; Celery's own handlers belong to its command line."""
    import signal

    def stop(signum: int, frame: Any) -> None:
        stop_worker(0)
        for group in worker.pool_groups.values():
            group.celery.wake()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

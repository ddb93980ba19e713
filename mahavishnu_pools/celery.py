"""Pools in Celery applications: ``install(app)`` for an existing one, ``app`` and ``run_task`` for those without.

``install`` adds the router and the way to pools; queues that are no pool's, the transport, the result backend and every
global of kombu stay as they were.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery, Task

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.amqp import STORE_FACTORY, PoolAMQP
from mahavishnu_pools.broker.celery_settings import celery_settings
from mahavishnu_pools.broker.control import RESULT_TTL, PoolControl
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.router import PoolRouter
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.worker_types import load_worker_types

if TYPE_CHECKING:
    from celery.canvas import Signature


def install(app: Celery, *, settings: Settings | None = None, redis_url: str | None = None) -> Celery:
    """Give an existing Celery app pools, and return it.

    Afterwards ``task.apply_async(args, pool="name")``, ``pool_selector="least_loaded"`` and ``pool_affinity="key"`` go
    to pools. Call it once where the app is made. ``redis_url`` (default: the configured one, else that of the running
    local stack) is where the pools are; the app's own broker and result backend may be elsewhere. A worker group that
    is to run the app's tasks gets the app by ``celery_app="module:attribute"`` in the pool's configuration or in the
    settings. A second call changes nothing.

    Raises:
        StackNotRunning: no URL was given and there is no stack; found out at the first call that goes to a pool.
    """
    if hasattr(app, STORE_FACTORY):
        return app
    chosen = settings or load_settings()
    store = _once_a_process(lambda: SyncStore.from_settings(chosen, redis_url or url_of(chosen)))
    setattr(app, STORE_FACTORY, store)
    setattr(app, RESULT_TTL, chosen.result_expires)
    _use_pool_amqp(app)
    _use_pool_control(app)
    _add_router(app, PoolRouter(store, chooser_of(chosen)))
    if names.RUN_TASK not in app.tasks:
        _register_run_task(app)
    return app


def make_app(settings: Settings, url: str) -> Celery:
    """Return a Celery app of this project's own, on its Redis and with pools."""
    app = Celery("mahavishnu", set_as_current=False)
    app.conf.update(celery_settings(settings, url))
    return install(app, settings=settings, redis_url=url)


def chooser_of(settings: Settings) -> Chooser:
    """Return a chooser with the settings' default strategy and worker types."""
    known = load_worker_types(settings.worker_types_file)
    return Chooser(default=PoolSelector(settings.pool_routing_strategy), known=known)


def url_of(settings: Settings) -> str:
    """Return the Redis to use: the configured one, else the running local stack's.

    Raises:
        StackNotRunning: there is neither.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    from mahavishnu_pools.embedded.stack import find_redis_url

    url = find_redis_url(settings)
    if url is None:
        raise errors.StackNotRunning
    return url


def _use_pool_amqp(app: Celery) -> None:
    """Swap the class of the app's AMQP layer; what it holds already (queues, producer pool) is kept."""
    app.amqp_cls = PoolAMQP
    existing = app.__dict__.get("amqp")
    if existing is not None:
        existing.__class__ = PoolAMQP
        existing.__dict__.pop("send_task_message", None)


def _use_pool_control(app: Celery) -> None:
    """Have ``app.control.revoke`` know pools; an app with a control class of its own keeps that."""
    if app.control_cls == Celery.control_cls:
        app.control_cls = PoolControl
        app.__dict__.pop("control", None)


def _add_router(app: Celery, router: PoolRouter) -> None:
    routes = app.conf.task_routes
    others = () if not routes else tuple(routes) if isinstance(routes, list | tuple) else (routes,)
    app.conf.task_routes = (router, *others)
    if "amqp" in app.__dict__:
        app.amqp.flush_routes()
        app.amqp.__dict__.pop("router", None)
        app.amqp.router = app.amqp.Router()


def _register_run_task(app: Celery) -> None:
    def run_task(spec: dict[str, Any]) -> dict[str, Any]:
        raise errors.InvalidInput(
            "mahavishnu.run_task runs on pools only. Send it with apply_async or delay, without task_always_eager."
        )

    app.task(name=names.RUN_TASK, shared=False)(run_task)


def _once_a_process(make: Callable[[], SyncStore]) -> Callable[[], SyncStore]:
    """Return a function that makes its store at the first call in a process, and another one after a fork."""
    made: dict[int, SyncStore] = {}

    def get() -> SyncStore:
        pid = os.getpid()
        if pid not in made:
            made.clear()
            made[pid] = make()
        return made[pid]

    return get


@cache
def _default_app() -> Celery:
    settings = load_settings()
    return make_app(settings, url_of(settings))


def _run_task() -> Task:
    return _default_app().tasks[names.RUN_TASK]


def signature(spec: dict[str, Any], **options: Any) -> Signature:
    """Return a signature of ``run_task`` for canvases: ``chord([signature({...}, pool="a"), …])(callback)``."""
    return _run_task().signature(args=[spec], options=options)


def __getattr__(name: str) -> Any:
    if name == "app":
        return _default_app()
    if name == "run_task":
        return _run_task()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

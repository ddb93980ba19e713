"""What makes a Celery app one with pools: our own apps, and those of users."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import Celery

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.amqp import ROUTER, SIGNER, STORE_FACTORY, PoolAMQP
from mahavishnu_pools.broker.celery_settings import celery_settings
from mahavishnu_pools.broker.control import RESULT_TTL, PoolControl
from mahavishnu_pools.broker.run_task import RunTask
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.router import PoolRouter
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import SyncStore


def make_app(settings: Settings, url: str) -> Celery:
    """Return a Celery app of this project's own, on its Redis and with pools."""
    app = Celery("mahavishnu", set_as_current=False)
    app.conf.update(celery_settings(settings, url))
    return add_pools(app, settings=settings, url=lambda: url)


def add_pools(app: Celery, *, settings: Settings, url: Callable[[], str]) -> Celery:
    """Give an app the router and the way to pools, and return it; a second call changes nothing.

    ``url`` is called at the first call that goes to a pool, in the process that makes it.
    """
    if hasattr(app, STORE_FACTORY):
        return app
    store = _once_a_process(lambda: SyncStore.from_settings(settings, url()))
    setattr(app, STORE_FACTORY, store)
    setattr(app, SIGNER, Signer.from_settings(settings))
    setattr(app, RESULT_TTL, settings.result_expires)
    _use_pool_amqp(app)
    _use_pool_control(app)
    _add_router(app, PoolRouter(store, Chooser.from_settings(settings)))
    if names.RUN_TASK not in app.tasks:
        _register_run_task(app)
    return app


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
    setattr(app, ROUTER, router)
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

    app.task(name=names.RUN_TASK, base=RunTask, shared=False)(run_task)


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

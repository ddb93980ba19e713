"""Pools in Celery applications: ``install(app)`` for an existing one, ``app`` and ``run_task`` for those without.

``install`` adds the router and the way to pools; queues that are no pool's, the transport, the result backend and every
global of kombu stay as they were.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery, Task

from mahavishnu_pools import names
from mahavishnu_pools.bootstrap import require_redis_url
from mahavishnu_pools.routing.celery_app import add_pools, make_app
from mahavishnu_pools.settings import Settings, load_settings

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
    chosen = settings or load_settings()
    return add_pools(app, settings=chosen, url=lambda: redis_url or url_of(chosen))


def url_of(settings: Settings) -> str:
    """Return the Redis to use: the configured one, else the running local stack's.

    Raises:
        StackNotRunning: there is neither.
    """
    return require_redis_url(settings)


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

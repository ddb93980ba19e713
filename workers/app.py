"""The Celery app of worker groups and beat: ``celery -A workers.app worker -Q pool.<pool id>`` works by itself.

``app`` is made at first use from the settings; nothing happens at import.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

from celery import Celery, signals

from mahavishnu_pools import errors, names, worker_types
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.process_logs import set_up_logging, wants_json
from mahavishnu_pools.redis_url import check_url
from mahavishnu_pools.routing.celery_app import add_pools
from mahavishnu_pools.routing.celery_app import make_app as client_app
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pools import read_pools

from . import celery_run_task, periodic
from .delegation import Bridge, open_delegate, service_of
from .executors.agent_session import SESSIONS
from .executors.interface import Limits
from .executors.workdir import IN_PODS
from .loading import load_module
from .pool_group import GroupOptions
from .runner import GroupContext
from .services import publish_tasks, services
from .sessions import Sessions
from .step import PoolStep, stop_worker

#: The concurrency pool class, by this package's own name (it is installed under another one).
THREAD_POOL = f"{__package__}.concurrency:ThreadPool"


def make_app(settings: Settings, url: str, *, user_app: str | None = None) -> Celery:
    """Return the app of a worker process: our own, or the user's (``module:attribute``) with pools added."""
    if user_app is None:
        return _make_current(own_app(settings, url))
    return _make_current(_equip(add_pools(_user_app(user_app), settings=settings, url=lambda: url)))


def own_app(settings: Settings, url: str) -> Celery:
    """Return our own app with what workers need; nothing of this process is changed, nothing is connected."""
    return _equip(client_app(settings, url))


def use_app(app: Celery) -> Celery:
    """Make an app of ours this process's own, and return it; it may have been made before modules were imported.

    Tasks that those define on another app are for all apps: each takes them in when it is finalized.
    """
    app.finalized = False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Task name 'celery\.")  # Celery's own have not changed since the first time
        app.finalize()
    return _make_current(app)


def _make_current(app: Celery) -> Celery:
    app.set_current()
    if wants_json():
        signals.setup_logging.connect(_log_as_json, weak=False)
    return app


def _equip(app: Celery) -> Celery:
    app.conf.update(_WORKER, worker_pool=THREAD_POOL)
    celery_run_task.register(app)
    periodic.register(app)
    return app


def _log_as_json(**_: Any) -> None:
    """Take Celery's place where it would set its own log up: in beat, and in plain ``celery worker`` commands."""
    set_up_logging()


#: What every worker of ours needs, whoever's app it runs.
_WORKER: dict[str, Any] = {
    "task_acks_late": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "result_backend_thread_safe": True,
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
}


def _user_app(place: str) -> Celery:
    module, _, attribute = place.partition(":")
    try:
        found = getattr(load_module(module, setting="celery_app"), attribute or "app")
    except AttributeError as exc:
        raise errors.InvalidConfig(
            f"celery_app: {place!r} cannot be loaded ({exc}). Name it as module:attribute."
        ) from exc
    if not isinstance(found, Celery):
        raise errors.InvalidConfig(f"celery_app: {place!r} is no Celery app.")
    return found


def import_modules(modules: tuple[str, ...]) -> None:
    """Import the user's modules, so that their tasks and task types are registered.

    Raises:
        InvalidConfig: one cannot be imported; the message names it.
    """
    for module in modules:
        load_module(module, setting="imports")


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """Where and for what a group runs.

    ``roots`` is where its tasks may run, ``config`` the pool's; ``delegate`` runs its prompts elsewhere.
    """

    pool_id: str
    node: str
    worker_type: str | None
    roots: tuple[Path, ...]
    config: PoolConfig
    delegate: Bridge | None = None


def group_context(app: Celery, settings: Settings, store: SyncStore, *, place: GroupPlace) -> GroupContext:
    """Return what all tasks of a group have in common; what it has loaded is told to the pool's record."""
    config = place.config
    found = services(settings, store, imports=(*settings.imports, *config.imports))
    found[SESSIONS] = Sessions(store, node=place.node)
    found["container_image"] = config.extra_config.get("container_image")
    found["isolation"] = config.isolation
    found[IN_PODS] = config.is_deployment
    if place.delegate is not None:
        found[service_of(place.delegate)] = place.delegate
    publish_tasks(store, place.pool_id, found["task_types"], app.tasks)
    return GroupContext(
        pool_id=place.pool_id,
        node=place.node,
        worker_type=place.worker_type,
        env=dict(os.environ),
        default_cwd=None,
        allowed_roots=place.roots,
        limits=Limits(
            kill_grace=settings.kill_grace,
            max_output_bytes=settings.max_output_bytes,
            max_log_bytes=settings.max_log_bytes,
        ),
        python_callables=settings.python_callables,
        result_ttl=settings.result_expires,
        services=found,
        signer=Signer.from_settings(settings),
    )


def _standalone_step(settings: Settings, url: str) -> type[PoolStep]:
    """Return the step of a worker that was started by a plain ``celery worker`` command, without an agent."""

    def make_options(app: Celery, pool_id: str, store: SyncStore) -> GroupOptions:
        record = store.run(read_pools(pool_id)).one(pool_id)
        node = settings.node_name or names.default_node_name()
        usual = worker_types.DEFAULT_ORDER[0] if record.config.runs_jobs else None
        kind = record.config.worker_type or settings.default_worker_type or usual
        roots = tuple(Path(root) for root in record.config.allowed_roots or settings.allowed_roots)
        delegate = open_delegate(record.config, settings, store, pool_id=pool_id)
        place = GroupPlace(pool_id, node, kind, roots, record.config, delegate)
        return GroupOptions(
            context=group_context(app, settings, store, place=place),
            lease=f"{pool_id}:{node}:{token_hex(6)}",
            lease_ttl=settings.lease_ttl,
            replicas=record.config.replicas,
            drain_timeout=settings.drain_timeout,
            max_log_bytes=settings.max_log_bytes,
            keep_alive=True,
            tick=lambda: None,
            on_ready=lambda: None,
            on_exit=stop_worker,
        )

    return PoolStep.configure(
        make_store=lambda connections: SyncStore.from_settings(settings, url, connections=connections),
        make_options=make_options,
    )


def _configured_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise errors.StackNotRunning(
            "A worker process needs a Redis. Name it in MAHAVISHNU_REDIS_URL; "
            "'mahavishnu up' gives it to its own workers."
        )
    return check_url(settings.redis_url.get_secret_value())


@cache
def _default_app() -> Celery:
    settings = load_settings()
    url = _configured_url(settings)
    import_modules(settings.imports)
    app = make_app(settings, url, user_app=settings.celery_app)
    app.steps["worker"].add(_standalone_step(settings, url))
    periodic.schedule(app)
    return app


def __getattr__(name: str) -> Any:
    if name in ("app", "celery"):
        return _default_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The Celery settings that follow from ours. ``celeryconfig.py`` and every app of this project use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mahavishnu_pools import names
from mahavishnu_pools.broker.celery_urls import celery_url, redbeat_connection
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.sentinel import SCHEME, parse_sentinels

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

#: Seconds within which an idle worker notices that its remote control's connection is dead although nobody closed it.
HEALTH_CHECK_INTERVAL = 5

#: Seconds between two looks of beat at its schedule, and the time after which a dead beat's lock is free.
BEAT_INTERVAL, BEAT_LOCK = 5, 25


def celery_settings(settings: Settings, url: str) -> dict[str, Any]:
    """Return the settings of a Celery app that works on this project's Redis.

    The transport is the stock one for ``redis://``; ten priority buckets replace Celery's four, so that Flower and
    ``LLEN`` count what ours push.
    """
    prefix = keys.namespace_prefix(settings.namespace)
    transport = _transport(settings, url, prefix)
    servers = celery_url(url)
    results: dict[str, Any] = {"global_keyprefix": prefix} if prefix else {}
    if url.startswith(SCHEME):
        found = parse_sentinels(url)
        named: dict[str, Any] = {"master_name": found.service, "sentinel_kwargs": found.login}
        transport |= named
        results |= named
    return {
        "broker_url": servers,
        "result_backend": servers,
        "broker_transport_options": transport,
        "result_backend_transport_options": results,
        "result_backend_thread_safe": True,
        "redis_max_connections": 8,
        "redis_socket_timeout": settings.submit_timeout,
        "redis_socket_connect_timeout": settings.submit_timeout,
        "result_expires": settings.result_expires,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_default_priority": names.celery_priority(5),
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.5, "interval_max": 1},
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "task_create_missing_queues": True,
        "enable_utc": True,
        "timezone": "UTC",
        **_beat_settings(settings, url, prefix),
    }


def _transport(settings: Settings, url: str, prefix: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "priority_steps": list(names.PRIORITY_STEPS),
        "socket_timeout": settings.submit_timeout,
        "socket_connect_timeout": settings.submit_timeout,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        **_keepalive(url),
    }
    return options | ({"global_keyprefix": prefix} if prefix else {})


def _keepalive(url: str) -> dict[str, Any]:
    """Return the option that a socket file does not have."""
    return {} if url.startswith("unix://") else {"socket_keepalive": True}


def _beat_settings(settings: Settings, url: str, prefix: str) -> dict[str, Any]:
    place, options = redbeat_connection(url)
    return {
        "beat_scheduler": "redbeat.RedBeatScheduler",
        "beat_max_loop_interval": BEAT_INTERVAL,
        "redbeat_redis_url": place,
        "redbeat_redis_options": {
            "socket_timeout": settings.submit_timeout,
            "socket_connect_timeout": settings.submit_timeout,
            **_keepalive(url),
            **options,
        },
        "redbeat_key_prefix": f"{prefix}{keys.PREFIX}beat:",
        "redbeat_lock_timeout": BEAT_LOCK,
        "redbeat_lock_key": f"{prefix}{keys.PREFIX}beat::lock",
    }

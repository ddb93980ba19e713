"""``python -m mahavishnu_workers.beat_probe``: whether a beat is at work, for health checks.

A beat holds a lock and extends it with every look at its schedule. The lock ends by itself, so as a sign of life it is
never older than ``BEAT_LOCK`` seconds. Of several beats one holds it and the others wait: all of them are in order.
"""

from __future__ import annotations

import sys

import redis

from mahavishnu_pools import errors
from mahavishnu_pools.broker.celery_settings import celery_settings
from mahavishnu_pools.settings import load_settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.server import translate


def main() -> int:
    """Return 0 when a beat holds the lock, 1 with the reason on stderr when none does or it cannot be told."""
    try:
        problem = _complaint()
    except errors.MahavishnuError as exc:
        problem = exc.message
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
    return 0 if problem is None else 1


def _complaint() -> str | None:
    settings = load_settings()
    if settings.redis_url is None:
        raise errors.StackNotRunning("MAHAVISHNU_REDIS_URL is not set.")
    url = settings.redis_url.get_secret_value()
    with SyncStore.from_settings(settings, url, connections=1) as store:
        try:
            held = store.redis.exists(celery_settings(settings, url)["redbeat_lock_key"])
        except (redis.RedisError, OSError) as exc:
            raise translate(exc, url=url) from exc
    return None if held else "No beat holds the lock of the schedule: none is running, or it has just begun."


if __name__ == "__main__":
    sys.exit(main())

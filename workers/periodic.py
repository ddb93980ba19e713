"""What beat runs. One task an entry; each can be run once by hand and is tested alone.

Beat sends them to a queue of their own by stock Celery. Whichever worker group has a free worker takes them with its
next claim: that costs no command more than an idle group asks anyway, and no group has to be chosen for it. Only what
schedules have due is sent by beat itself (``scheduled``).
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from mahavishnu_pools import names
from mahavishnu_pools.broker.amqp import STORE_FACTORY
from mahavishnu_pools.settings import load_settings
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.pools import reindex

from . import scheduled

#: Compares the load index with the truth.
RECONCILE = f"{names.PERIODIC_PREFIX}reconcile"

#: Delivers the outcomes of tasks to the memory servers.
SYNC_MEMORY = f"{names.PERIODIC_PREFIX}sync_memory"

#: Seconds between two reconciliations of the load index with the truth.
RECONCILE_INTERVAL = 30.0


def register(app: Celery) -> None:
    """Register the periodic tasks with an app; every worker of ours has them."""

    def reconcile() -> int:
        store: Any = getattr(app, STORE_FACTORY)()
        return int(store.run(reindex()))

    def sync_memory() -> int:
        from mahavishnu_pools.memory.aggregator import sync_once

        store: Any = getattr(app, STORE_FACTORY)()
        return int(sync_once(redis_url=store.url)["memory_items_synced"])

    app.task(name=SYNC_MEMORY, shared=False, ignore_result=True)(sync_memory)
    app.task(name=RECONCILE, shared=False, ignore_result=True)(reconcile)
    scheduled.register(app)


def schedule(app: Celery) -> None:
    """Have beat send the periodic tasks. One that was not taken before the next is due is dropped."""
    interval = load_settings().memory_sync_interval
    logging.getLogger("celery.beat").addFilter(scheduled.quiet)
    app.conf.beat_schedule = {
        **(app.conf.beat_schedule or {}),
        SYNC_MEMORY: {
            "task": SYNC_MEMORY,
            "schedule": interval,
            "options": {"queue": keys.key("periodic", prefix=""), "priority": 0, "expires": interval},
        },
        RECONCILE: {
            "task": RECONCILE,
            "schedule": RECONCILE_INTERVAL,
            # The highest priority is the queue without a suffix, the only one that claims look at.
            "options": {"queue": keys.key("periodic", prefix=""), "priority": 0, "expires": RECONCILE_INTERVAL},
        },
        # Beat carries this one out itself, so it needs no queue.
        scheduled.SCHEDULES: {"task": scheduled.SCHEDULES, "schedule": scheduled.INTERVAL},
    }

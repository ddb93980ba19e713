"""What beat runs. One task an entry; each can be run once by hand and is tested alone."""

from __future__ import annotations

from typing import Any

from celery import Celery

from mahavishnu_pools.broker.amqp import STORE_FACTORY
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.pools import reindex

#: Queue of periodic tasks; any worker group may be given it beside its pool's.
PERIODIC_QUEUE = "mahavishnu.periodic"

#: Seconds between two reconciliations of the load index with the truth.
RECONCILE_INTERVAL = 30.0


def register(app: Celery, settings: Settings) -> None:
    """Register the periodic tasks and their schedule with an app."""

    def reconcile() -> int:
        store: Any = getattr(app, STORE_FACTORY)()
        return int(store.run(reindex()))

    app.task(name="mahavishnu.reconcile", shared=False, ignore_result=True)(reconcile)
    app.conf.beat_schedule = {
        **(app.conf.beat_schedule or {}),
        "mahavishnu.reconcile": {
            "task": "mahavishnu.reconcile",
            "schedule": RECONCILE_INTERVAL,
            "options": {"queue": PERIODIC_QUEUE, "expires": RECONCILE_INTERVAL},
        },
    }

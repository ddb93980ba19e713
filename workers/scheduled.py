"""What beat does itself: it sends what schedules have due, and ends what is not approved of, or decided, in time.

Beat calls ``apply_async`` of what is due. This task's does the work at once, in beat's process and under its lock, so
schedules need no free worker, and nothing lies in a queue that could be lost or come late.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, Task

from mahavishnu_pools import names
from mahavishnu_pools.broker.amqp import STORE_FACTORY
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.submission import Sender
from mahavishnu_pools.schedules.sending import Way, send_due
from mahavishnu_pools.settings import load_settings
from mahavishnu_pools.store.approvals import expire_approvals
from mahavishnu_pools.store.contests import expire_contests
from mahavishnu_pools.store.steps import run_steps_sync

#: Sends what is due.
SCHEDULES = f"{names.PERIODIC_PREFIX}schedules"

#: Seconds between two looks.
INTERVAL = 5.0


class AtOnce(Task):
    """The base of tasks that whoever sends them carries out itself."""

    def apply_async(self, *_: Any, **__: Any) -> None:
        """Do it now."""
        self.run()


def register(app: Celery) -> None:
    """Register the task with an app."""
    made: list[Way] = []

    def schedules() -> int:
        if not made:
            settings = load_settings()
            sender = Sender("beat", settings.max_payload_bytes, Signer.from_settings(settings))
            made.append(Way(Chooser.from_settings(settings), sender, settings.result_expires))
        way = made[0]
        store: Any = getattr(app, STORE_FACTORY)()
        store.run(expire_approvals(result_ttl=way.result_ttl))
        run_steps_sync(store, expire_contests(result_ttl=way.result_ttl))
        return run_steps_sync(store, send_due(way))

    app.task(name=SCHEDULES, base=AtOnce, shared=False, ignore_result=True)(schedules)


def quiet(record: logging.LogRecord) -> bool:
    """Tell whether a line of beat's log is to be written: not that it looks at the schedules again."""
    first = record.args[0] if isinstance(record.args, tuple) and record.args else None
    # Entries of a schedule, which beat writes at other levels, can be compared with nothing else.
    return not (isinstance(first, str) and first == SCHEDULES and record.levelno <= logging.INFO)

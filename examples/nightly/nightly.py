"""A job that beat sends to a pool every night. ``EVERY=5`` sends it every five seconds instead, to try it out."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery
from celery.schedules import crontab, schedule

from mahavishnu_pools import load_settings
from mahavishnu_pools.celery import install, url_of

redis = url_of(load_settings())  # here the stack's own; a Redis of yours does as well
app = install(Celery("nightly", broker=redis, backend=redis))

#: The fields of a task, as `mahavishnu pools execute` and PoolManager take them.
REPORT = {"prompt": "date; du -sh .", "cwd": str(Path(__file__).parent), "timeout": 600}

app.conf.beat_schedule = {
    "usage-report": {
        "task": "mahavishnu.run_task",
        "args": [REPORT],
        "schedule": schedule(float(os.environ["EVERY"])) if "EVERY" in os.environ else crontab(hour=3, minute=30),
        # What is not started by the morning is not worth starting.
        "options": {"pool": "nightly", "expires": 4 * 3600},
    },
}
app.conf.timezone = "Europe/Berlin"

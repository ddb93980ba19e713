"""A user's own Celery application in one of the pools."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from celery import Celery

from mahavishnu_pools.celery import install
from tests.chaos.payloads import note

app = Celery("chaos", broker=os.environ["CHAOS_URL"], backend=os.environ["CHAOS_URL"], set_as_current=False)
app.conf.update(broker_transport_options={"priority_steps": list(range(10))}, result_backend_thread_safe=True)
install(app, redis_url=os.environ["CHAOS_URL"])

DIARY = Path(os.environ["CHAOS"])


@app.task(name="chaos.work", bind=True)
def work(self: Any, seconds: float) -> str:
    note(DIARY, "start", self.request.id, attempt=0)
    threading.Event().wait(seconds)
    note(DIARY, "effect", self.request.id, attempt=0)
    return "done"


@app.task(name="chaos.again", bind=True, max_retries=100)
def again(self: Any, seconds: float) -> str:
    note(DIARY, "start", self.request.id, attempt=0)
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)
    note(DIARY, "effect", self.request.id, attempt=0)
    return "done"

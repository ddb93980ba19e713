"""Stock Celery with its Redis transport and result backend."""

from __future__ import annotations

from celery import Celery

from benchmarks.peers.address import url_of

app = Celery("peer", broker=url_of("celery"), backend=url_of("celery"), set_as_current=False)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=100, worker_send_task_events=False)


@app.task(name="peer.noop")
def noop() -> int:
    """Do nothing."""
    return 1

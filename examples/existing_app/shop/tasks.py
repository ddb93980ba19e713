"""The shop's Celery application. Pools took one line: ``install(app)``."""

from __future__ import annotations

import os

from celery import Celery

from mahavishnu_pools.celery import install

redis = os.environ["SHOP_REDIS_URL"]
app = Celery("shop", broker=redis, backend=redis)
app.conf.task_routes = {"shop.tasks.send_mail": {"queue": "mail"}}
install(app)  # pools are where MAHAVISHNU_REDIS_URL says, else on the stack that runs here


@app.task
def send_mail(to: str, text: str) -> str:
    """Run, as ever, on the shop's own workers: ``celery -A shop.tasks worker -Q mail``."""
    return f"sent to {to}: {text}"


@app.task(bind=True, max_retries=3)
def make_invoice(self, order: int, prices: list[float]) -> dict[str, object]:
    """Run on a pool; retries, chains and chords work as on Celery's own workers."""
    if not prices:
        raise self.retry(exc=ValueError(f"order {order} is empty"), countdown=0.1)
    return {"order": order, "total": round(sum(prices), 2)}

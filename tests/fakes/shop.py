"""A user's own Celery application, as a web back end has one, with pools added by ``install``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery, chord, group
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown

from mahavishnu_pools.celery import install

app = Celery("shop", broker=os.environ["SHOP_URL"], backend=os.environ["SHOP_URL"], set_as_current=False)
app.conf.update(broker_transport_options={"priority_steps": list(range(10))}, result_backend_thread_safe=True)
install(app, redis_url=os.environ["SHOP_URL"])

#: Where tasks write that they ran.
DIARY = Path(os.environ["SHOP_DIR"])


def note(name: str, text: str = "ran") -> None:
    with (DIARY / name).open("a") as diary:
        diary.write(text + "\n")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[Any]) -> Any:
    return sum(n if isinstance(n, int) else int(n["output"]) for n in numbers)


@app.task(bind=True, max_retries=5)
def flaky(self: Any, name: str, *, failures: int, countdown: float) -> dict[str, Any]:
    note(name, str(self.request.retries))
    if self.request.retries < failures:
        raise self.retry(countdown=countdown)
    return {"retries": self.request.retries, "id": self.request.id}


@app.task(autoretry_for=(ConnectionError,), max_retries=1, default_retry_delay=0)
def unreachable(name: str) -> None:
    note(name)
    raise ConnectionError("nobody there")


@app.task(bind=True, max_retries=3)
def late(self: Any, name: str) -> None:
    note(name, str(self.request.expires is not None))
    raise self.retry(countdown=5)


@app.task
def fail(text: str) -> None:
    raise ValueError(text)


@app.task
def leave(name: str, how: str) -> None:
    note(name)
    if how == "exit":
        sys.exit(3)
    raise {"interrupt": KeyboardInterrupt, "shutdown": WorkerShutdown}[how]


@app.task
def write(*args: Any, name: str, text: str = "ran") -> str:
    note(name, text)
    return text


@app.task
def errback(request: Any, exc: Any, traceback: Any, name: str) -> None:
    note(name, f"{type(exc).__name__}: {exc}")


@app.task(ignore_result=True)
def silent(name: str) -> str:
    note(name)
    return "nobody reads this"


@app.task
def unserialisable() -> object:
    return object()


@app.task(bind=True)
def reject_once(self: Any, name: str) -> str:
    note(name)
    if len((DIARY / name).read_text().splitlines()) == 1:
        raise Reject("not now", requeue=True)
    return "done"


@app.task
def reject(name: str) -> None:
    note(name)
    raise Reject("never", requeue=False)


@app.task
def ignore(name: str) -> None:
    note(name)
    raise Ignore


@app.task(rate_limit="2/s")
def limited(name: str, number: int) -> float:
    note(name, str(number))
    return time.time()


@app.task(time_limit=0.2, soft_time_limit=0.1)
def slow() -> str:
    time.sleep(0.5)
    return "in the end"


@app.task
def hold(name: str, until: str) -> str:
    note(name)
    while not (DIARY / until).exists():
        time.sleep(0.02)
    return "held"


@app.task(bind=True)
def replaced(self: Any, x: int, y: int) -> Any:
    raise self.replace(add.s(x, y).set(queue=self.request.delivery_info["routing_key"]))


@app.task(bind=True)
def elsewhere(self: Any, how: str) -> Any:
    if how == "retry":
        raise self.retry(queue="elsewhere", countdown=0)
    if how == "replace":
        raise self.replace(add.s(1, 2).set(queue="elsewhere"))
    raise Retry("but it sends nothing")


@app.task(acks_late=False)
def early(name: str) -> str:
    note(name)
    return "early"


def sums(pool: str) -> Any:
    return chord(group(add.s(n, n).set(pool=pool) for n in range(5)), total.s().set(pool=pool))

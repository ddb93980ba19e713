"""Two Celery applications with the same task: a stock one, and one with pools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery

from mahavishnu_pools.celery import install

#: Names the file with the server's address, which is written once the server runs. The stock application uses another
#: database of it.
VARIABLE = "BENCH_ADDRESS_FILE"


def _address() -> str:
    return Path(os.environ[VARIABLE]).read_text(encoding="utf-8")


def _application(name: str, database: int) -> Celery:
    url = _address().rpartition("/")[0] + f"/{database}"
    app = Celery(name, broker=url, backend=url, set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=4)
    app.task(name="bench.noop")(noop)
    return app


def noop() -> None:
    """Do nothing."""


def __getattr__(name: str) -> Any:
    if name == "stock":
        globals()["stock"] = _application("stock", 1)
    elif name == "pooled":
        globals()["pooled"] = install(_application("pooled", 0), redis_url=_address())
    else:
        raise AttributeError(name)
    return globals()[name]

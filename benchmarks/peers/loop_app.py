"""The limit: threads that pop a message of a list, read it and write a result. What dies with one of them is lost."""

from __future__ import annotations

import json
import threading
from uuid import uuid4

import redis

from benchmarks.peers.address import url_of

#: Threads of one process, and seconds a result is kept.
THREADS, KEPT = 5, 86400


def connection() -> redis.Redis:
    """Return a client of its own."""
    return redis.Redis.from_url(url_of("loop"))


def enqueue(client: redis.Redis) -> None:
    """Put a task on the list."""
    client.lpush("peer", json.dumps({"id": str(uuid4()), "task": "noop", "args": [], "kwargs": {}}))


def work() -> None:
    """Take and run tasks for ever."""
    client = connection()
    while True:
        if (taken := client.brpop(["peer"])) is None:
            continue
        message = json.loads(taken[1])
        client.set(message["id"], json.dumps({"result": 1}), ex=KEPT)


if __name__ == "__main__":
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

"""RQ, results kept."""

from __future__ import annotations

import redis
from rq import Queue

from benchmarks.peers.address import url_of


def queue() -> Queue:
    """Return the queue, with a connection of its own."""
    return Queue("peer", connection=redis.Redis.from_url(url_of("rq")))


def noop() -> int:
    """Do nothing."""
    return 1

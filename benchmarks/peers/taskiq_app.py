"""Taskiq on a Redis stream, acknowledged when the result is saved."""

from __future__ import annotations

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers.address import url_of

broker = RedisStreamBroker(url_of("taskiq")).with_result_backend(RedisAsyncResultBackend(url_of("taskiq")))


@broker.task
async def noop() -> int:
    """Do nothing."""
    return 1

"""Huey on Redis, results kept."""

from __future__ import annotations

from huey import RedisHuey

from benchmarks.peers.address import url_of

huey = RedisHuey("peer", url=url_of("huey"))


@huey.task()
def noop() -> int:
    """Do nothing."""
    return 1

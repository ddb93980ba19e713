"""What a watch says of its cluster while it is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.watching import Watch


class DeadCluster:
    """Lists nothing, refuses two streams and never answers to the third."""

    namespace = "n"

    def __init__(self) -> None:
        self.tries = 0
        self.hangs = asyncio.Event()

    async def find(self, kind: str, **_: Any) -> dict[str, Any]:
        return {"items": [], "metadata": {"resourceVersion": "1"}}

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **_: Any) -> AsyncIterator[Any]:
        self.tries += 1
        if self.tries <= 2:
            raise errors.ClusterUnavailable("It is away.", cluster=None)
        self.hangs.set()
        await asyncio.Event().wait()
        yield None


async def test_a_cluster_that_is_tried_again_is_still_in_trouble() -> None:
    cluster = DeadCluster()
    watch = Watch(cast("Cluster", cluster), "Job", labels="", seen=lambda one, there: None)
    running = asyncio.create_task(watch.run())

    async with asyncio.timeout(30):
        await cluster.hangs.wait()

    assert watch.trouble == "It is away."
    running.cancel()

"""Follows the log of a Job's container while it runs, over cut connections, to its last byte."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import CONTAINER
from mahavishnu_pools.kube.log_lines import LogLines
from mahavishnu_pools.kube.paths import KINDS

logger = logging.getLogger(__name__)

#: Seconds of silence after which a connection is made anew: it may be broken without anybody's telling.
SILENT_SECONDS = 300.0

#: Seconds before reading goes on after a broken connection, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: Seconds a connection has to end after the container did, and all that is left may take to be read.
TAIL_SECONDS, REST_SECONDS = 3.0, 30.0


class JobLog:
    """The log of one container. ``consume`` gets each byte once, in the event loop."""

    def __init__(self, cluster: Cluster, consume: Callable[[bytes], None]) -> None:
        self._cluster, self._consume = cluster, consume
        self._lines = LogLines()
        self._pod = ""
        self._following: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        #: True when not all of it could be read.
        self.incomplete = False

    def start(self, pod: str) -> None:
        """Follow the log of a Pod whose container has begun; a second call does nothing."""
        if self._following is None:
            self._pod = pod
            self._following = asyncio.create_task(self._follow(), name=f"log of {pod}")

    async def finish(self, *, gone: bool = False) -> None:
        """Read what is left of a log that was started, after its end; with ``gone`` only what is under way."""
        if self._following is None:
            return
        self._over.set()
        await asyncio.wait({self._following}, timeout=TAIL_SECONDS)
        await self.stop()
        if gone:
            return
        try:
            async with asyncio.timeout(REST_SECONDS):
                await self._rest()
        except (errors.MahavishnuError, TimeoutError) as exc:
            self.incomplete = True
            logger.warning("The log of %s is not complete: %s", self._pod, exc, extra={"action": "job_log"})

    async def stop(self) -> None:
        """Read no more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        """Read until the container has ended: streams may end before, as when a node begins a new file."""
        failures = 0
        while not self._over.is_set():
            try:
                failures = 0 if await self._read(follow=True) else failures + 1
            except errors.ClusterUnavailable as exc:
                failures += 1
                logger.debug("The log of %s broke off: %s", self._pod, exc)
            except errors.ClusterRefused as exc:
                # Its Pod is gone, or its container does not run yet by the word of its node.
                failures += 1
                logger.debug("The log of %s cannot be read: %s", self._pod, exc)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 10))):
                    await self._over.wait()

    async def _rest(self) -> None:
        while True:
            try:
                await self._read(follow=False)
                return
            except errors.ClusterUnavailable as exc:
                logger.debug("The rest of the log of %s is not read yet: %s", self._pod, exc)
            await asyncio.sleep(FIRST_PAUSE)

    async def _read(self, *, follow: bool) -> bool:
        """Read once from where everything is known; tell whether there was anything new."""
        query = {"container": CONTAINER, "timestamps": "true", **({"follow": "true"} if follow else {})}
        if self._lines.since is not None:
            query["sinceTime"] = self._lines.since
        self._lines.begin()
        path = KINDS["Pod"].path(self._cluster.namespace, self._pod, "log")
        found = False
        async with self._cluster.stream(path, query=query, idle=SILENT_SECONDS) as pieces:
            async for piece in pieces:
                if new := self._lines.feed(piece):
                    found = True
                    self._consume(new)
        return found

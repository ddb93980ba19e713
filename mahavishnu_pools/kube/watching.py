"""One watch of all objects of a kind that belong to a pool. It survives whatever ends watches.

A watch ends by itself now and then, its connection drops, its place in the history is forgotten (410), the API server
restarts. Then it goes on from where it was, or lists everything again and tells what has gone meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.objects import Manifest
from mahavishnu_pools.kube.paths import KINDS

logger = logging.getLogger(__name__)

#: Seconds after which the server is asked to end a watch, and those beyond after which a silent one counts as broken.
WATCH_SECONDS, SILENT_SECONDS = 50, 15.0

#: Seconds before a watch goes on after its end, and the most there are when it ends again and again.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: Seconds a watch has to last for its end to count as usual.
STEADY_SECONDS = 10.0

#: Watches in a row that told nothing before they ended, after which everything is listed: they may leave out something.
FRUITLESS = 3

#: What is told of an object: ``True``, its newest state; ``False``, it is gone.
Seen = Callable[[Manifest, bool], None]


#: Waits some seconds.
Pause = Callable[[float], Awaitable[None]]


class _Expired(Exception):
    """The place in the history is forgotten."""


class Watch:
    """Tells ``seen`` of every object of a kind with certain labels, for as long as ``run`` runs.

    After everything was listed, ``listed`` is told which version of the cluster that was.
    """

    def __init__(
        self, cluster: Cluster, kind: str, *, labels: str, seen: Seen, listed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._cluster, self._kind, self._labels, self._seen, self._listed = cluster, kind, labels, seen, listed
        self._fruitless = 0
        self._known: dict[str, Manifest] = {}
        self._version: str | None = None
        #: What is wrong at the moment, None: all is well.
        self.trouble: str | None = None

    async def begin(self) -> None:
        """List what there is.

        Raises:
            ClusterUnavailable, ClusterRefused: that failed.
        """
        found = await self._cluster.find(self._kind, labels=self._labels)
        items = {one["metadata"]["name"]: slim(one) for one in found.get("items") or []}
        gone = [one for name, one in self._known.items() if name not in items]
        self._known = items
        self._version = str((found.get("metadata") or {}).get("resourceVersion") or "")
        for one in gone:
            self._seen(one, False)
        for one in items.values():
            self._seen(one, True)
        self._listed(self._version)

    async def run(self, *, pause: Pause = asyncio.sleep) -> None:
        """Watch without end. ``pause`` is called between two watches."""
        while True:
            began = time.monotonic()
            ended = await self._once()
            if time.monotonic() - began >= STEADY_SECONDS:
                self._fruitless = 0
            seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._fruitless, 10))
            self._fruitless += 1
            if ended and self._fruitless >= FRUITLESS:
                self._version = None
            await pause(seconds * random.uniform(0.5, 1.0))

    async def _once(self) -> bool:
        """Watch until that ends, however it does; tell whether it ended in order."""
        try:
            await self._watch()
            return True
        except _Expired:
            logger.info("The watch of %s begins anew", self._kind, extra={"action": "watch"})
            self._version = None
        except errors.MahavishnuError as exc:
            if self._fruitless > 0:
                self.trouble = exc.message
            logger.debug("The watch of %s is broken: %s", self._kind, exc)
        # The border to what a cluster may send: no answer, however strange, ends the watch of a pool.
        except Exception as exc:
            logger.exception("The watch of %s met what nobody expected", self._kind, extra={"action": "watch"})
            self.trouble = f"What the cluster tells of its {self._kind}s cannot be understood: {exc!r}"
            self._version = None
        return False

    async def _watch(self) -> None:
        """List where that is needed, then watch once."""
        if self._version is None:
            await self.begin()
        async with contextlib.aclosing(self._events()) as events:
            async for event in events:
                self._take(event)
                self._fruitless = 0

    async def _events(self) -> AsyncGenerator[Manifest, None]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": self._labels,
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        path = KINDS[self._kind].path(self._cluster.namespace)
        rest = b""
        try:
            async with self._cluster.stream(path, query=query, idle=WATCH_SECONDS + SILENT_SECONDS) as pieces:
                # Not before: while a dead cluster is tried again, it is still dead.
                self.trouble = None
                async for piece in pieces:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in filter(None, lines):
                        yield _event(line)
        except errors.ClusterRefused as exc:
            if exc.details()["status"] == 410:
                raise _Expired from exc
            raise

    def _take(self, event: Manifest) -> None:
        kind, one = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            # Whatever is wrong with it, a new list puts it right.
            raise _Expired
        meta = one.get("metadata") or {}
        self._version = str(meta.get("resourceVersion") or self._version)
        if kind == "BOOKMARK":
            return
        one, name = slim(one), str(meta["name"])
        if kind == "DELETED":
            self._known.pop(name, None)
        else:
            self._known[name] = one
        self._seen(one, kind != "DELETED")


def slim(one: Manifest) -> Manifest:
    """Return an object without what only its maker needs, such as a prompt: many are kept until they are gone."""
    meta = {name: value for name, value in one["metadata"].items() if name != "managedFields"}
    return {name: value for name, value in one.items() if name != "spec"} | {"metadata": meta}


def _event(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as exc:
        raise _Expired from exc
    return found if isinstance(found, dict) else {}

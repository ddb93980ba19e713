"""Says that this node lives and what its groups are; measures what they take."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import psutil

from mahavishnu_pools import errors
from mahavishnu_pools.store.pools import GroupInfo, node_beat

from .context import AgentContext
from .group import Group
from .self_report import SelfReport

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024


class Heartbeat:
    """Beats for the node and its groups; ``infos`` returns these by pool id."""

    def __init__(self, context: AgentContext, infos: Callable[[], Mapping[str, GroupInfo]]) -> None:
        self._context = context
        self._infos = infos
        self._report = SelfReport(context)
        self._on_the_way = _OnTheWay()
        #: Pools of which it is not known what Redis was told last: the next beat says what holds.
        self._unsure: set[str] = set()
        self._ended = False
        self._sending = 0
        self._silent = asyncio.Event()
        self._silent.set()

    async def end(self) -> None:
        """Say nothing from now on, and wait until all that was said has arrived: a beat that comes after the node has
        left would have it live again for as long as a beat lasts.
        """
        self._ended = True
        await self._silent.wait()

    async def beat(self) -> None:
        """Say everything.

        Raises:
            RedisUnavailable: nobody heard it.
        """
        unsure, self._unsure = self._unsure, set()
        await self._send({*self._infos(), *unsure})

    async def tell(self, pool_id: str) -> None:
        """Say what became of one pool's group; when nobody hears it, the next beat will."""
        try:
            await self._send({pool_id})
        except errors.RedisUnavailable as exc:
            logger.debug("The group of %s is announced later: %s", pool_id, exc)

    async def _send(self, pools: Collection[str]) -> None:
        if self._ended:
            return
        self._sending += 1
        self._silent.clear()
        try:
            await self._say(pools)
        finally:
            self._sending -= 1
            if not self._sending:
                self._silent.set()

    async def _say(self, pools: Collection[str]) -> None:
        context, infos = self._context, self._infos()
        asked = time.monotonic()
        groups = {pool_id: infos.get(pool_id) for pool_id in pools}
        beat = node_beat(context.facts.info(), groups, ttl=context.settings.node_lost_after)
        self._on_the_way.begin(pools)
        try:
            question = await context.store.run(beat)
        except BaseException:
            self._unsure.update(pools)
            raise
        finally:
            mixed = self._on_the_way.end(pools)
        context.heard_at = max(context.heard_at, asked)
        self._report.asked(question)
        if mixed:
            await self._send(mixed)

    async def measure(self) -> None:
        """Measure memory and CPU of every group; the figures go with the next beat."""
        self._context.memory.look()
        await asyncio.to_thread(_measure, list(self._context.table))


class _OnTheWay:
    """Which pools are being told of. What is said twice at a time may arrive in either order, the older word last."""

    def __init__(self) -> None:
        self._words: Counter[str] = Counter()
        self._mixed: set[str] = set()

    def begin(self, pools: Collection[str]) -> None:
        """Note that something is said of some pools."""
        self._mixed.update(pool_id for pool_id in pools if self._words[pool_id])
        self._words.update(pools)

    def end(self, pools: Collection[str]) -> set[str]:
        """Note that it was said, or never will be; returns those that must be told of again, now that all is said."""
        self._words.subtract(pools)
        through = {pool_id for pool_id in pools if not self._words[pool_id]}
        for pool_id in through:
            del self._words[pool_id]
        mixed = through & self._mixed
        self._mixed -= mixed
        return mixed


def _measure(groups: list[Group]) -> None:
    for group in groups:
        if group.process is not None:
            with contextlib.suppress(psutil.Error, OSError):
                group.memory_mb = round(_memory_bytes(group.process) / _MIB, 1)
                # The first call has nothing to compare with and says 0.
                group.cpu_percent = group.process.cpu_percent(interval=None)


def _memory_bytes(process: psutil.Process) -> int:
    """Return the proportional set size, which counts shared pages once over all groups; elsewhere resident size."""
    if sys.platform == "linux":
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)

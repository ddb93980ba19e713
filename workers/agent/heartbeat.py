"""Says that this node lives and what its groups are; measures what they take."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping
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

    async def beat(self) -> None:
        """Say everything.

        Raises:
            RedisUnavailable: nobody heard it.
        """
        await self._send(self._infos())

    async def tell(self, pool_id: str) -> None:
        """Say what became of one pool's group; when nobody hears it, the next beat will."""
        try:
            await self._send({pool_id: self._infos().get(pool_id)})
        except errors.RedisUnavailable as exc:
            logger.debug("The group of %s is announced later: %s", pool_id, exc)

    async def _send(self, groups: Mapping[str, GroupInfo | None]) -> None:
        context = self._context
        asked = time.monotonic()
        beat = node_beat(context.facts.info(), groups, ttl=context.settings.node_lost_after)
        question = await context.store.run(beat)
        context.heard_at = max(context.heard_at, asked)
        self._report.asked(question)

    async def measure(self) -> None:
        """Measure memory and CPU of every group; the figures go with the next beat."""
        self._context.memory.look()
        await asyncio.to_thread(_measure, list(self._context.table))


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

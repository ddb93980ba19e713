"""Finds by their labels and removes containers that worker groups of this node left: killed, cut off, or too late.

A container is no process of its group, so ending the group's processes does not end it. It must be gone before the
group's claims are handed back: nothing may run twice. An engine that does not answer holds that up for a few seconds
only; what it may still run is looked for again for a while, and when an agent starts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping

from ..executors.container_argv import AGENT_LABEL, LEASE_LABEL, NODE_LABEL
from ..executors.container_engine import Engine, EngineSilent, engines_here

logger = logging.getLogger(__name__)

#: Later looks for containers of a group whose engine did not answer when the group ended.
_TRIES = 60


class ContainerSweeper:
    """Removes containers of one agent; looks asked for at the same time share one."""

    def __init__(self, agent_id: str) -> None:
        self._agent_id = agent_id
        self._looks: dict[str, _SharedLook] = {}
        self._pending: dict[str, int] = {}
        self._first_tries = _TRIES
        self._silent: set[str] = set()

    async def end(self, lease: str) -> None:
        """Remove what a group that is gone left; what its program had just asked for may come later, so look again."""
        self._pending[lease] = 1 if await self._remove_all(lease) else _TRIES

    async def look(self, *, node: str, living: Callable[[], Collection[str]]) -> None:
        """Look again for what could not be removed; the first time, for everything that no living lease owns."""
        if self._first_tries > 0:
            done = [await self._remove_strangers(engine, node=node, living=living) for engine in await self._engines()]
            self._first_tries = 0 if all(done) else self._first_tries - 1
        for lease, tries in list(self._pending.items()):
            if await self._remove_all(lease) or tries <= 1:
                self._pending.pop(lease, None)
            else:
                self._pending[lease] = tries - 1

    async def _engines(self) -> list[Engine]:
        return await asyncio.to_thread(engines_here, os.environ)

    async def _remove_all(self, lease: str) -> bool:
        """Remove the containers of a lease; False when an engine could not be asked."""
        engines = await self._engines()
        return all(await asyncio.gather(*(self._remove_from(engine, lease) for engine in engines)))

    async def _remove_from(self, engine: Engine, lease: str) -> bool:
        try:
            look = self._looks.setdefault(engine.program, _SharedLook())
            if await look.finds_any(engine, {AGENT_LABEL: self._agent_id}):
                found = await asyncio.to_thread(engine.find, {LEASE_LABEL: lease})
                await _remove(engine, found)
        except EngineSilent as exc:
            self._say(engine, f"for containers of {lease}", exc)
            return False
        self._silent.discard(engine.name)
        return True

    async def _remove_strangers(self, engine: Engine, *, node: str, living: Callable[[], Collection[str]]) -> bool:
        try:
            mine = {AGENT_LABEL: self._agent_id, NODE_LABEL: node}
            found = await asyncio.to_thread(engine.find, mine)
            # Asked afterwards: what a living group starts meanwhile is not among those found.
            kept = {one for lease in living() for one in await asyncio.to_thread(engine.find, {LEASE_LABEL: lease})}
            await _remove(engine, [one for one in found if one not in kept])
        except EngineSilent as exc:
            self._say(engine, "for left containers", exc)
            return False
        self._silent.discard(engine.name)
        return True

    def _say(self, engine: Engine, what: str, exc: EngineSilent) -> None:
        # Said once until it answers: where nothing was ever run in docker, it being off is no news.
        level = logging.DEBUG if engine.name in self._silent else logging.INFO
        self._silent.add(engine.name)
        logger.log(level, "%s cannot be asked %s: %s", engine.name, what, exc)


class _SharedLook:
    """Whether an engine has any containers with some labels; what is asked at the same time is answered once."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._began = float("-inf")
        self._answer: bool | EngineSilent = False

    async def finds_any(self, engine: Engine, labels: Mapping[str, str]) -> bool:
        asked = time.monotonic()
        async with self._lock:
            if self._began < asked:
                self._began = time.monotonic()
                try:
                    self._answer = bool(await asyncio.to_thread(engine.find, labels))
                except EngineSilent as exc:
                    # Those who wait for the same answer must not each wait for the deadline.
                    self._answer = exc
            if isinstance(self._answer, EngineSilent):
                raise EngineSilent(str(self._answer))
            return self._answer


async def _remove(engine: Engine, found: Collection[str]) -> None:
    if found:
        logger.warning(
            "Containers that a worker group left are removed: %d", len(found), extra={"action": "remove_containers"}
        )
        await asyncio.to_thread(engine.remove, list(found))

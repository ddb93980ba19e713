"""The agent's controller: the one process of it that talks to Redis. When it dies, a new one takes its place."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from mahavishnu_pools import errors
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore

from . import wire
from .context import AgentContext
from .group import Group, GroupTable
from .life_signs import show_life
from .link import ZygoteLink
from .news import NewsReader
from .node import AgentIdentity, NodeFacts, choose_name, read_ready_file
from .service import Service
from .trees import is_alive
from .zygote import Seat

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Time between TERM and KILL for groups whose agent's first process is gone, in seconds.
ORPHAN_GRACE = 1.0

#: How often such groups are looked at, in seconds: nobody tells of their exit any more.
_ORPHAN_POLL = 0.05

#: Pause between two tries to reach Redis at the beginning, in seconds.
_CONNECT_PAUSE = 0.5

#: Exit codes: stopped in order, something unforeseen, bad settings, no usable Redis.
DONE, BROKEN, BAD_SETTINGS, NO_REDIS = 0, 1, 2, 4


def run_controller(seat: Seat, settings: Settings, redis_url: str, *, me: AgentIdentity) -> int:
    """Run a controller in this process and return its exit code."""
    # Its end is that of the zygote: who ends processes by a mark or by their group must not take its duty away.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    previous = read_ready_file(settings)
    controller = Controller(seat, settings, redis_url, me=replace(me, previous_pid=previous))
    return asyncio.run(controller.run())


class Controller:
    """See the module; ``run`` is its whole life, inside one event loop."""

    def __init__(self, seat: Seat, settings: Settings, redis_url: str, *, me: AgentIdentity) -> None:
        self._seat = seat
        self._settings = settings
        self._redis_url = redis_url
        self._me = me
        self._news = NewsReader()
        self._ending, self._hurry = asyncio.Event(), asyncio.Event()
        self._table = GroupTable(seat.ticks, self._on_news)
        self._link = ZygoteLink(on_exited=self._table.take, on_stop=self._on_stop, on_lost=self._on_lost)
        self._service: Service | None = None
        self._orphans: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Serve until the zygote says stop or is gone; returns the exit code."""
        await self._link.open(self._seat.channel)
        asyncio.get_running_loop().add_reader(self._seat.news_fd, self._read_news)
        signs = show_life(self._settings.data_dir, lambda: self._service.signs() if self._service else (None, False))
        self._life = asyncio.create_task(signs, name="signs of life")
        groups = [self._table.add(pid, slot=slot, start=start) for pid, slot, start in await self._link.list_groups()]
        async with AsyncStore.from_settings(self._settings, self._redis_url) as store:
            try:
                name = await self._unless_ending(self._find_name(store, groups))
            except errors.MahavishnuError as exc:
                logger.error("%s", exc.message)
                return NO_REDIS if isinstance(exc, errors.Unavailable) else BAD_SETTINGS
            return DONE if name is None else await self._serve(store, name, groups)

    async def _serve(self, store: AsyncStore, name: str, groups: list[Group]) -> int:
        context = AgentContext(
            settings=self._settings,
            redis_url=self._redis_url,
            store=store,
            me=self._me,
            facts=NodeFacts(self._settings, name, self._me),
            link=self._link,
            table=self._table,
            hurry=self._hurry,
        )
        service = self._service = Service(context)
        await self._unless_ending(service.start(groups))
        await self._unless_ending(service.broken.wait())
        if not self._ending.is_set():
            return BROKEN
        await service.finish(grace=ORPHAN_GRACE if self._orphans else None)
        return DONE

    async def _find_name(self, store: AsyncStore, groups: list[Group]) -> str:
        if groups:
            return groups[0].start.node
        deadline = time.monotonic() + self._settings.submit_timeout
        while True:
            try:
                await store.check()
                return await choose_name(store, self._settings, self._me)
            except errors.RedisUnavailable:
                # An agent that was ready once waits as long as it takes; a new one says what is wrong.
                if self._me.previous_pid != self._me.pid and time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_CONNECT_PAUSE)

    async def _unless_ending(self, step: Coroutine[Any, Any, T]) -> T | None:
        """Return what the step returns, or None when the end was asked for first."""
        working, ending = asyncio.create_task(step), asyncio.create_task(self._ending.wait())
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if working.done():
            return working.result()
        working.cancel()
        return None

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_stop(self, hurry: bool) -> None:
        self._ending.set()
        if hurry:
            self._hurry.set()

    def _on_lost(self) -> None:
        logger.error("The agent's first process is gone; its groups are ended", extra={"action": "zygote_gone"})
        if self._ending.is_set():
            self._hurry.set()
        self._orphans = asyncio.create_task(self._watch_orphans(), name="orphans")
        self._ending.set()

    async def _watch_orphans(self) -> None:
        while True:
            for group in self._table:
                if not group.exited.done() and (group.process is None or not is_alive(group.process)):
                    group.exited.set_result(wire.Exited(group.pid, code=0, signal=0))
            await asyncio.sleep(_ORPHAN_POLL)

    def _on_news(self, group: Group, event: str) -> None:
        if self._service is not None:
            self._service.take_news(group, event)

    def _read_news(self) -> None:
        # The pipe is never at its end: the zygote and this process hold its other end or inherited it.
        for news in self._news.feed(os.read(self._seat.news_fd, 65536)):
            self._table.take(news)

"""What a controller does once it knows its name: keeps the groups, and all that is repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from mahavishnu_pools import errors
from mahavishnu_pools.store.pools import GroupInfo, node_leave, reindex

from .budgets import BudgetKeeper
from .context import AgentContext
from .cool_downs import CoolDownWatch
from .engines import PERIOD as ENGINE_PERIOD
from .engines import EngineWatch
from .failover import Failover
from .group import Group
from .heartbeat import Heartbeat
from .keepers import Keepers
from .node import ready_file
from .pods import COUNT_PERIOD, PodCount
from .reaper import Reaper
from .registry import RegistryFollower
from .releasing import Releaser
from .scaling import PERIOD as SCALE_PERIOD
from .scaling import PoolScaler
from .watch import GroupWatch

logger = logging.getLogger(__name__)

#: How often groups are looked at, and how often all leases and dead pools are, in seconds.
WATCH_PERIOD = 0.25
REAP_PERIOD = 0.5

#: How often the load index is checked against the truth, and figures are measured, in seconds.
REINDEX_PERIOD = 5.0
MEASURE_PERIOD = 10.0

#: How often pools that have spent a day's budget are looked at, and which worker types have cooled down, in seconds.
BUDGET_PERIOD = 10.0
COOL_DOWN_PERIOD = 2.0

#: Pause between two tries of something that must succeed before anything else, in seconds.
_SETTLE_PAUSE = 0.5

#: Time in seconds, besides the drain, for ending what is left and telling Redis.
_END_MARGIN = 10.0

#: Deadline for taking this node out, in seconds.
_LEAVE_SECONDS = 3.0


class Service:
    """See the module. ``broken`` is set when a part failed in a way that only a new controller can mend."""

    def __init__(self, context: AgentContext) -> None:
        self.broken = asyncio.Event()
        self._context = context
        self._loops: list[asyncio.Task[None]] = []
        self._heartbeat = Heartbeat(context, self._infos)
        self._keepers = Keepers(context, tell=self._heartbeat.tell, on_ended=self._ended, on_broken=self.broken.set)
        self._follower = RegistryFollower(context, self._keepers)
        self._following: list[asyncio.Task[None]] = []

    async def start(self, groups: Iterable[Group]) -> None:
        """Take over groups that live, announce the node, clean up after a former life, then follow the registry."""
        context, settings = self._context, self._context.settings
        for group in groups:
            self._keepers.adopt(group)
        watch, reaper = GroupWatch(context, self._keepers), Reaper(context)
        self._repeat(watch.look, period=WATCH_PERIOD)
        self._repeat(watch.refresh, period=min(settings.lease_ttl / 4, 2.0))
        engines = EngineWatch(context.facts)
        await engines.look()
        await self._insist(self._heartbeat.beat)
        self._repeat(self._heartbeat.beat, period=settings.node_heartbeat)
        await self._insist(reaper.look)
        self._repeat(reaper.look, period=min(REAP_PERIOD, settings.lease_ttl / 10))
        failover = Failover(context, lambda: self._follower.records)
        self._repeat(failover.look, period=REAP_PERIOD)
        self._repeat(PoolScaler(context, lambda: self._follower.records).look, period=SCALE_PERIOD)
        self._repeat(BudgetKeeper(context, lambda: self._follower.records).look, period=BUDGET_PERIOD)
        self._repeat(CoolDownWatch(context, lambda: self._follower.records).look, period=COOL_DOWN_PERIOD)
        releaser = Releaser(context)
        self._repeat(releaser.listen, period=0.0)
        self._repeat(releaser.look, period=0.0)
        self._repeat(self._reindex, period=REINDEX_PERIOD)
        self._repeat(self._heartbeat.measure, period=MEASURE_PERIOD)
        self._repeat(engines.look, period=ENGINE_PERIOD)
        self._repeat(self._clean_containers, period=MEASURE_PERIOD)
        if settings.only_pool is not None:
            self._repeat(PodCount(context, self._keepers).look, period=COUNT_PERIOD)
        self._following = [
            self._repeat(self._follower.listen, period=0.0),
            self._repeat(self._follower.follow, period=0.0),
        ]
        ready_file(settings).write_text(f"{context.me.pid}\n")
        logger.info("Node %s is ready", context.facts.name, extra={"action": "ready"})

    def signs(self) -> tuple[float | None, bool]:
        """Return when Redis was last heard, and whether a group takes tasks here."""
        context = self._context
        ready = any(keeper.group is not None and keeper.group.ready.is_set() for keeper in self._keepers)
        return context.heard_at, ready and not context.stopping.is_set()

    async def finish(self, *, grace: float | None) -> None:
        """End every group (``grace`` seconds each, None: the drain timeout), hand all claims back and leave."""
        context, settings = self._context, self._context.settings
        context.stopping.set()
        for task in self._following:
            task.cancel()
        patience = settings.drain_timeout + settings.kill_grace if grace is None else grace
        await self._keepers.finish(grace=grace, patience=patience + _END_MARGIN)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._heartbeat.end()
                await context.store.run(node_leave(context.facts.name))
        except (errors.RedisUnavailable, TimeoutError) as exc:
            logger.warning("The node could not be taken out and will be found silent: %s", exc)
        for task in self._loops:
            task.cancel()
        ready_file(settings).unlink(missing_ok=True)

    def take_news(self, group: Group, event: str) -> None:
        """Announce what a group said; that it is ready is announced by its keeper."""
        if event != "ready" and not group.start.alone:
            self._keepers.tell_soon(group.start.pool_id)

    def _infos(self) -> dict[str, GroupInfo]:
        return self._keepers.infos()

    def _ended(self, pool_id: str) -> None:
        # It may be wanted again, or be removed now.
        self._follower.changed(pool_id)

    # ── what is repeated ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _reindex(self) -> None:
        wrong = await self._context.store.run(reindex())
        if wrong:
            logger.info("The load of %d pools was corrected", wrong)

    async def _clean_containers(self) -> None:
        context = self._context
        await context.containers.look(node=context.facts.name, living=lambda: tuple(context.leases))

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
                return
            except errors.RedisUnavailable as exc:
                logger.warning("%s", exc.message)
            await asyncio.sleep(_SETTLE_PAUSE)

    def _repeat(self, step: Callable[[], Awaitable[None]], *, period: float) -> asyncio.Task[None]:
        task = asyncio.create_task(self._forever(step, period), name=f"loop {step.__qualname__}")
        self._loops.append(task)
        return task

    async def _forever(self, step: Callable[[], Awaitable[None]], period: float) -> None:
        while True:
            pause = period
            try:
                await step()
            except errors.RedisUnavailable as exc:
                logger.warning("%s", exc.message)
                pause = max(period, _SETTLE_PAUSE)
            except Exception:
                # The border between duties: one that meets something unforeseen must not end the others.
                logger.exception("%s failed", step.__qualname__)
                pause = max(period, _SETTLE_PAUSE)
            await asyncio.sleep(pause)

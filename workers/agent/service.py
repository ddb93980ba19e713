"""What a controller does once it knows its name: keeps the groups, and all that is repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.store.pools import PoolRecord, node_leave, reindex

from .context import AgentContext
from .group import Group
from .heartbeat import Heartbeat
from .keeper import Keeper
from .node import ready_file
from .reaper import Reaper
from .registry import RegistryFollower
from .watch import GroupWatch

logger = logging.getLogger(__name__)

#: How often groups are looked at, and how often all leases are polled, in seconds.
WATCH_PERIOD = 0.25
REAP_PERIOD = 0.5

#: How often the load index is checked against the truth, and figures are measured, in seconds.
REINDEX_PERIOD = 5.0
MEASURE_PERIOD = 10.0

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
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._heartbeat = Heartbeat(context, self._keepers)
        self._follower = RegistryFollower(context, self._keepers, keep=self._keep)
        self._following: list[asyncio.Task[None]] = []

    async def start(self, groups: Iterable[Group]) -> None:
        """Take over groups that live, announce the node, clean up after a former life, then follow the registry."""
        context, settings = self._context, self._context.settings
        for group in groups:
            self._begin(_record_of(group), adopted=group)
        watch, reaper = GroupWatch(context, self._keepers), Reaper(context)
        self._repeat(watch.look, period=WATCH_PERIOD)
        self._repeat(watch.refresh, period=min(settings.lease_ttl / 4, 2.0))
        await self._insist(self._heartbeat.beat)
        self._repeat(self._heartbeat.beat, period=settings.node_heartbeat)
        await self._insist(reaper.look)
        self._repeat(reaper.look, period=min(REAP_PERIOD, settings.lease_ttl / 10))
        self._repeat(self._reindex, period=REINDEX_PERIOD)
        self._repeat(self._heartbeat.measure, period=MEASURE_PERIOD)
        self._following = [
            self._repeat(self._follower.listen, period=0.0),
            self._repeat(self._follower.follow, period=0.0),
        ]
        ready_file(settings).write_text(f"{context.me.pid}\n")
        logger.info("Node %s is ready", context.facts.name, extra={"action": "ready"})

    async def finish(self, *, grace: float | None) -> None:
        """End every group (``grace`` seconds each, None: the drain timeout), hand all claims back and leave."""
        context, settings = self._context, self._context.settings
        context.stopping.set()
        for task in self._following:
            task.cancel()
        for keeper in self._keepers.values():
            keeper.stop(grace=grace)
        if self._tasks:
            patience = settings.drain_timeout + settings.kill_grace if grace is None else grace
            await asyncio.wait(self._tasks.values(), timeout=patience + _END_MARGIN)
        for task in (*self._loops, *self._telling):
            task.cancel()
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await context.store.run(node_leave(context.facts.name))
        except (errors.RedisUnavailable, TimeoutError) as exc:
            logger.warning("The node could not be taken out and will be found silent: %s", exc)
        ready_file(settings).unlink(missing_ok=True)

    def take_news(self, group: Group, event: str) -> None:
        """Announce what a group said; that it is ready is announced by its keeper."""
        if event != "ready" and group.start.pool_id in self._keepers:
            self._tell_soon(group.start.pool_id)

    # ── keepers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, record: PoolRecord) -> None:
        keeper = self._keepers.get(record.pool_id)
        if keeper is None:
            self._begin(record)
        elif keeper.update(record):
            self._tell_soon(record.pool_id)

    def _begin(self, record: PoolRecord, *, adopted: Group | None = None) -> None:
        keeper = Keeper(self._context, record, tell=self._heartbeat.tell, adopted=adopted)
        self._keepers[record.pool_id] = keeper
        task = asyncio.create_task(self._run(keeper), name=f"keeper {record.pool_id}")
        task.add_done_callback(self._on_task_end)
        self._tasks[record.pool_id] = task

    async def _run(self, keeper: Keeper) -> None:
        await keeper.run()
        del self._keepers[keeper.pool_id], self._tasks[keeper.pool_id]
        await self._heartbeat.tell(keeper.pool_id)
        # It may be wanted again, or be removed now.
        self._follower.changed(keeper.pool_id)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("%s failed; a new controller takes over", task.get_name(), exc_info=exc)
            self.broken.set()

    def _tell_soon(self, pool_id: str) -> None:
        task = asyncio.create_task(self._heartbeat.tell(pool_id))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    # ── what is repeated ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _reindex(self) -> None:
        wrong = await self._context.store.run(reindex())
        if wrong:
            logger.info("The load of %d pools was corrected", wrong)

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


def _record_of(group: Group) -> PoolRecord:
    """Return what is known of the pool of a group that was taken over; the registry says the rest soon."""
    start = group.start
    return PoolRecord(
        pool_id=start.pool_id,
        config=start.pool_config(),
        status=PoolStatus.RUNNING,
        workers=start.workers,
        created=0.0,
        reason=None,
        assigned=(start.node,),
        queued=0,
        running=0,
        groups=(),
        counts={},
    )

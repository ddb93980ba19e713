"""The keepers of all pools on this node: one for each pool's group, and one more while a pool has suspects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES, PoolStatus
from mahavishnu_pools.store.pools import GroupInfo, PoolRecord

from .context import AgentContext
from .group import Group
from .keeper import Keeper

logger = logging.getLogger(__name__)


class Keepers:
    """See the module. Iterating gives all of them.

    ``tell`` announces a pool's group, ``on_ended`` is called with a pool whose keeper has ended, ``on_broken`` when one
    failed in a way that only a new controller can mend.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        tell: Callable[[str], Coroutine[Any, Any, None]],
        on_ended: Callable[[str], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._context = context
        self._tell = tell
        self._on_ended = on_ended
        self._on_broken = on_broken
        self._ordinary: dict[str, Keeper] = {}
        self._alone: dict[str, Keeper] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Keeper]:
        return iter([*self._ordinary.values(), *self._alone.values()])

    def pools(self) -> set[str]:
        """Return the ids of pools that have a keeper."""
        return self._ordinary.keys() | self._alone.keys()

    def infos(self) -> dict[str, GroupInfo]:
        """Return the groups that are announced, by pool id."""
        return {pool_id: keeper.info() for pool_id, keeper in self._ordinary.items()}

    def keep(self, record: PoolRecord) -> None:
        """Have the groups a pool needs; one that lives is told what has changed."""
        keeper = self._ordinary.get(record.pool_id)
        if keeper is None:
            self._begin(record)
        elif keeper.update(record):
            self.tell_soon(record.pool_id)
        works = record.status in ACTIVE_STATUSES or record.works_off
        if record.suspects and works and record.pool_id not in self._alone:
            self._begin(record, alone=True)

    def adopt(self, group: Group) -> None:
        """Keep a group that a former controller started."""
        self._begin(_record_of(group), adopted=group, alone=group.start.alone)

    def stop(self, pool_id: str) -> None:
        """End a pool's groups for good."""
        for keepers in (self._ordinary, self._alone):
            if pool_id in keepers:
                keepers[pool_id].stop()

    async def finish(self, *, grace: float | None, patience: float) -> None:
        """End every group (``grace`` as in ``Keeper.stop``) and wait for that at most ``patience`` seconds."""
        for keeper in self:
            keeper.stop(grace=grace)
        if self._running:
            await asyncio.wait(self._running, timeout=patience)
        for task in self._telling:
            task.cancel()

    def tell_soon(self, pool_id: str) -> None:
        """Announce a pool's group without waiting for it."""
        if pool_id in self._ordinary:
            task = asyncio.create_task(self._tell(pool_id))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def _begin(self, record: PoolRecord, *, adopted: Group | None = None, alone: bool = False) -> None:
        tell = _tell_nobody if alone else self._tell
        keeper = Keeper(self._context, record, tell=tell, adopted=adopted, alone=alone)
        keepers = self._alone if alone else self._ordinary
        keepers[record.pool_id] = keeper
        task = asyncio.create_task(self._run(keeper, keepers), name=f"keeper {record.pool_id}")
        task.add_done_callback(self._on_task_end)
        self._running.add(task)

    async def _run(self, keeper: Keeper, keepers: dict[str, Keeper]) -> None:
        await keeper.run()
        del keepers[keeper.pool_id]
        if keepers is self._ordinary:
            await self._tell(keeper.pool_id)
        self._on_ended(keeper.pool_id)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("%s failed; a new controller takes over", task.get_name(), exc_info=exc)
            self._on_broken()


async def _tell_nobody(pool_id: str) -> None:
    """Announce nothing: a pool is known by its ordinary group."""


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
        generation=start.generation,
    )

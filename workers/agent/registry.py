"""Follows the registry of pools: asks for those that fit, has groups started and stopped, removes closed pools."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from mahavishnu_pools import errors
from mahavishnu_pools.store.events import note_lost_node
from mahavishnu_pools.store.pool_changes import give_pool_up
from mahavishnu_pools.store.pools import (
    NodeInfo,
    PoolRecord,
    assign_node,
    empty_pool,
    list_nodes,
    node_leave,
    read_pools,
    registry_version,
    remove_pool,
)

from .context import AgentContext
from .hearing import hear
from .keepers import Keepers
from .placement import Wish, wish

logger = logging.getLogger(__name__)

#: Everything is looked at again at least this often, in seconds: nodes come and go without a word.
FULL_LOOK = 1.0

#: So long (seconds) a pool's preferred node is waited for before another one takes it: it may live and yet not fit.
PREFERRED_SECONDS = 1.0

#: A lost node is shown as lost for so many times the time after which it is lost, then it is forgotten.
FORGET_AFTER = 10


class RegistryFollower:
    """See the module. ``keepers`` are told what to keep and what to stop."""

    def __init__(self, context: AgentContext, keepers: Keepers) -> None:
        self._context = context
        self._keepers = keepers
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._version: int | None = None
        self._records: tuple[PoolRecord, ...] = ()
        self._living: frozenset[str] = frozenset()
        self._asked_since: dict[str, float] = {}
        self._lost_since: dict[str, float] = {}
        self._full_at = 0.0

    @property
    def records(self) -> tuple[PoolRecord, ...]:
        """Return the pools as they were last read."""
        return self._records

    def changed(self, pool_id: str) -> None:
        """Have a pool looked at now."""
        self._changed.add(pool_id)
        self._wake.set()

    async def listen(self) -> None:
        """Hear of changes until the connection is lost."""

        def look_at_all() -> None:
            self._version = None

        await hear(self._context.store, "changed", heard=self.changed, begun=look_at_all)

    async def follow(self) -> None:
        """Look at what changed, or at everything when it is time, then wait for the next change.

        Raises:
            RedisUnavailable: Redis did not answer.
        """
        self._wake.clear()
        changed, self._changed = self._changed, set()
        try:
            if changed:
                await self._look_at(changed)
            if time.monotonic() >= self._full_at:
                await self._look_at_all()
        except errors.RedisUnavailable:
            self._version = None
            raise
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout=max(0.0, self._full_at - time.monotonic()))

    async def _look_at(self, pool_ids: set[str]) -> None:
        registry = await self._context.store.run(read_pools(*pool_ids))
        fresh = {record.pool_id: record for record in registry.pools}
        self._records = tuple(fresh.get(record.pool_id, record) for record in self._records)
        await self._act(registry.pools)
        for pool_id in pool_ids - {record.pool_id for record in registry.pools}:
            self._keepers.stop(pool_id)

    async def _look_at_all(self) -> None:
        run = self._context.store.run
        self._full_at = time.monotonic() + FULL_LOOK
        version, nodes = await run(registry_version()), await run(list_nodes())
        self._living = frozenset(node.name for node in nodes if node.alive)
        await self._forget({node.name for node in nodes} - self._living)
        if version != self._version:
            registry = await run(read_pools())
            self._version, self._records = registry.version, registry.pools
        await self._act(self._records)
        for pool_id in self._keepers.pools() - {record.pool_id for record in self._records}:
            self._keepers.stop(pool_id)

    async def _forget(self, lost: set[str]) -> None:
        now, kept_for = time.monotonic(), FORGET_AFTER * self._context.settings.node_lost_after
        for name in lost - self._lost_since.keys():
            await self._context.store.run(note_lost_node(name))
        self._lost_since = {name: self._lost_since.get(name, now) for name in lost}
        for name in [name for name, since in self._lost_since.items() if now - since > kept_for]:
            logger.info("Node %s has been lost for long and is forgotten", name, extra={"action": "forget_node"})
            await self._context.store.run(node_leave(name))

    async def _act(self, records: tuple[PoolRecord, ...]) -> None:
        me = self._context.facts.info()
        for record in records:
            try:
                await self._act_on(record, me)
            except errors.PoolNotFound:
                logger.debug("Pool %s was removed meanwhile", record.pool_id)

    async def _act_on(self, record: PoolRecord, me: NodeInfo) -> None:
        what = wish(record, me, living=self._living)
        if what is not Wish.ASK:
            self._asked_since.pop(record.pool_id, None)
        if what is Wish.RUN or (what is Wish.ASK and await self._assigned(record)):
            self._keepers.keep(record)
            return
        self._keepers.stop(record.pool_id)
        if what is Wish.GIVE_UP:
            await self._context.store.run(give_pool_up(record.pool_id, me.name))
        elif what is Wish.REMOVE and record.pool_id not in self._keepers.pools():
            await self._remove(record.pool_id)

    async def _assigned(self, record: PoolRecord) -> bool:
        since = self._asked_since.setdefault(record.pool_id, time.monotonic())
        first = time.monotonic() - since >= PREFERRED_SECONDS
        node, replicas = self._context.facts.name, record.config.replicas
        return await self._context.store.run(assign_node(record.pool_id, node, replicas=replicas, first=first))

    async def _remove(self, pool_id: str) -> None:
        """Remove a closed pool; refused while another node still has a group of it, which will then do it."""
        run, settings = self._context.store.run, self._context.settings
        call = empty_pool(pool_id, reason="its pool was closed", result_ttl=settings.result_expires)
        while await run(call):
            continue
        if await run(remove_pool(pool_id)) is None:
            logger.info("Pool %s was removed", pool_id, extra={"action": "remove_pool", "pool_id": pool_id})

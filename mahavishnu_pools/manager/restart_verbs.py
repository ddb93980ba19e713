"""What a manager does to have a pool's worker groups started anew."""

from __future__ import annotations

import secrets

from mahavishnu_pools import errors
from mahavishnu_pools.manager.pool_verbs import PoolVerbs
from mahavishnu_pools.schemas.pool import ENDED_STATUSES, PoolInfo, PoolStatus
from mahavishnu_pools.store.pools import PoolRecord, change_pool, read_pools

#: Seconds that ending and starting may take beside the time that running tasks and the start of a pool have.
EXTRA = 10.0


class RestartVerbs(PoolVerbs):
    """The verb that restarts pools."""

    async def restart_pool(self, pool: str) -> PoolInfo:
        """Start a pool's worker groups anew, with the code and the environment there are now, and wait for them.

        Running tasks go on for ``drain_timeout``; what runs longer is handed back and runs again, and the attempt does
        not count. What waits, waits. The id, the figures and what is bound to the pool stay.

        Raises:
            PoolNotFound, PoolGone: there is none.
            PoolNotReady: its groups were not there again in time.
        """
        store, watch = (await self._connected()).store, (await self._connected()).watch
        record, generation = await self._record(pool), secrets.token_hex(6)
        living = tuple(status for status in PoolStatus if status not in ENDED_STATUSES)
        await store.run(change_pool(record.pool_id, only_if=living, generation=generation))

        async def look() -> PoolRecord | None:
            now = (await store.run(read_pools(record.pool_id))).one(pool)
            return now if _renewed(now, generation) else None

        settings = self.settings
        limit = settings.drain_timeout + settings.kill_grace + settings.spawn_timeout + EXTRA
        now = await watch.until(look, within=limit)
        if now is None:
            name = record.config.name
            text = (
                f"The worker groups of {name} are not ready again after {limit:g} s. See: mahavishnu pools get {name}"
            )
            raise errors.PoolNotReady(text, pool_id=record.pool_id)
        return now.info()


def _renewed(pool: PoolRecord, generation: str) -> bool:
    """Tell whether all groups are those of a generation; a pool that nobody runs has none to wait for."""
    groups = {group.node: group for group in pool.groups}
    return all(
        node in groups and groups[node].generation == generation and groups[node].status == "ready"
        for node in pool.nodes
    )

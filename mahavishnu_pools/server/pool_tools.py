"""The tools about pools."""

from __future__ import annotations

from collections.abc import Sequence

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_tools import Answer, Tool
from mahavishnu_pools.pools.mahavishnu import metrics_of
from mahavishnu_pools.schemas.moving import ClosedPool, DrainedPool, Rebalanced
from mahavishnu_pools.schemas.pool import PoolInfo
from mahavishnu_pools.server import arguments, results, texts
from mahavishnu_pools.server.pools import Pools


class PoolTools:
    """The tools on the pools of one stack."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        a, r = arguments, results
        restart = "Start a pool's workers anew with the code there is now; no task is lost."
        return (
            Tool("pool_spawn", "Make a pool of workers; an equal one is taken.", a.SpawnPool, self.spawn, PoolInfo),
            Tool("pool_list", "List the pools.", a.ListPools, self.list, r.PoolList, reads=True),
            Tool("pool_monitor", "Return figures of pools.", a.PerhapsOnePool, self.monitor, r.Monitored, reads=True),
            Tool("pool_health", "Tell how pools are, and why.", a.PerhapsOnePool, self.health, r.Health, reads=True),
            Tool("pool_scale", "Change a pool's number of workers.", a.ScalePool, self.scale, PoolInfo),
            Tool("pool_pause", "Start no more tasks of a pool; running ones go on.", a.OnePool, self.pause, PoolInfo),
            Tool("pool_resume", "Go on after a pause or a drain.", a.OnePool, self.resume, PoolInfo),
            Tool("pool_restart", restart, a.OnePool, self.restart, PoolInfo),
            Tool("pool_drain", "Take no new tasks; running ones end.", a.DrainPool, self.drain, DrainedPool),
            Tool("pool_rebalance", "Even out what waits in pools.", a.Rebalance, self.rebalance, Rebalanced),
            Tool("pool_close", "Close a pool and remove it.", a.ClosePool, self.close, ClosedPool),
            Tool("pool_close_all", "Close all pools there are.", a.CloseAll, self.close_all, r.ClosedAll),
        )

    async def spawn(self, given: arguments.SpawnPool) -> Answer:
        """Make a pool."""
        fields = {**given.config, **given.model_dump(exclude={"config", "wait", "pool_type"}, exclude_none=True)}
        kind = given.pool_type
        if kind is None and isinstance(fields.get("pool_type"), str):
            kind = str(fields.pop("pool_type"))
        manager = await self._pools.manager()
        pool_id = await manager.spawn_pool(kind, wait=given.wait, **fields)
        info = await manager.pool_info(pool_id)
        return _pool("✅ Pool", info)

    async def list(self, given: arguments.ListPools) -> Answer:
        """List the pools."""
        manager = await self._pools.manager()
        found = await manager.list_pools(active_only=given.active_only, pool_type=given.pool_type)
        head = f"📊 Pools ({len(found)} total):" if found else "There are no pools. Make one with pool_spawn."
        value = results.PoolList(total=len(found), pools=found)
        return Answer(texts.listed(head, map(texts.pool, found)), value.model_dump(mode="json"))

    async def monitor(self, given: arguments.PerhapsOnePool) -> Answer:
        """Return figures."""
        manager = await self._pools.manager()
        one = given.pool_id
        infos = await manager.list_pools() if one is None else [await manager.pool_info(one)]
        value = results.Monitored(pools=[metrics_of(info) for info in infos], totals=await manager.stats())
        head = f"📊 {len(infos)} pools" if infos else "There are no pools."
        return Answer(texts.listed(head, map(texts.pool, infos)), value.model_dump(mode="json"))

    async def health(self, given: arguments.PerhapsOnePool) -> Answer:
        """Tell how pools are."""
        found = await (await self._pools.manager()).health_check(given.pool_id)
        return Answer(f"🏥 {texts.health(found)}", found)

    async def scale(self, given: arguments.ScalePool) -> Answer:
        """Change the number of workers."""
        manager = await self._pools.manager()
        info = await manager.scale_pool(given.pool_id, given.target_workers, max_workers=given.max_workers)
        return _pool("✅ Scaled", info)

    async def pause(self, given: arguments.OnePool) -> Answer:
        """Pause a pool."""
        return _pool("⏸ Paused", await (await self._pools.manager()).pause_pool(given.pool_id))

    async def resume(self, given: arguments.OnePool) -> Answer:
        """Resume a pool."""
        return _pool("✅ Resumed", await (await self._pools.manager()).resume_pool(given.pool_id))

    async def restart(self, given: arguments.OnePool) -> Answer:
        """Restart a pool."""
        return _pool("✅ Restarted", await (await self._pools.manager()).restart_pool(given.pool_id))

    async def drain(self, given: arguments.DrainPool) -> Answer:
        """Drain a pool."""
        info = await (await self._pools.manager()).drain_pool(given.pool_id, timeout=given.timeout)
        return _pool("✅ Drained", info)

    async def rebalance(self, given: arguments.Rebalance) -> Answer:
        """Even out what waits."""
        manager = await self._pools.manager()
        found = await manager.rebalance(given.strategy, pools=given.pools, dry_run=given.dry_run)
        verb = "Would move" if found.dry_run else "Moved"
        moves = (f"{move.tasks} tasks from {move.source_name} to {move.target_name}" for move in found.moves)
        return Answer(texts.listed(f"{verb} {found.moved} tasks", moves), found.model_dump(mode="json"))

    async def close(self, given: arguments.ClosePool) -> Answer:
        """Close a pool."""
        manager = await self._pools.manager()
        closed = await manager.close_pool(given.pool_id, timeout=given.timeout, tasks=given.tasks, to=given.to)
        moved = sum(move.tasks for move in closed.moves)
        text = f"✅ Closed pool {closed.name}: {closed.cancelled} tasks cancelled, {moved} moved"
        return Answer(text, closed.model_dump(mode="json"))

    async def close_all(self, given: arguments.CloseAll) -> Answer:
        """Close all pools."""
        if not given.confirm:
            problem = "must be true: this closes every pool, whoever made it, and cancels its tasks"
            raise errors.InvalidField.of("confirm", problem, "Ask the user first, or close single pools.")
        closed = await (await self._pools.manager()).close_all(scope="all")
        return Answer(f"✅ Closed {len(closed)} pools", {"closed": list(closed)})


def _pool(done: str, info: PoolInfo) -> Answer:
    return Answer(f"{done} {texts.pool(info)}", info.model_dump(mode="json"))

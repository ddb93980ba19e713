"""Several pools in one process: made, chosen, watched and removed."""

from __future__ import annotations

import asyncio
import random
import uuid
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.session_buddy.pool import SHUTDOWN_SECONDS, WorkerPool
from mahavishnu_pools.session_buddy.pool_file import POOL_ID, PoolFile
from mahavishnu_pools.session_buddy.repeats import Repeats, identity_of
from mahavishnu_pools.session_buddy.runner import PromptRunner, Runner
from mahavishnu_pools.session_buddy.worker import ExecutionResult
from mahavishnu_pools.wording import short

#: How ``route_task`` chooses a pool.
SELECTORS = ("least_loaded", "round_robin", "random")

#: Pools one manager may have.
MAX_POOLS = 1000

# The seed's `get_pool_manager` gives the same manager to all code of an event loop; it goes with the loop.
_managers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, PoolManager] = weakref.WeakKeyDictionary()


class PoolManager:
    """Pools that share one runner of prompts.

    With a ``directory`` the pools' names and worker types are kept there, and ``start`` makes them again; their tasks
    and numbers are not kept. Without a ``runner`` the manager has one of its own, which ends with it.
    """

    def __init__(self, *, directory: Path | None = None, runner: Runner | None = None) -> None:
        self._file = PoolFile(directory)
        self._runner = runner or PromptRunner()
        self._owns_runner = runner is None
        self._pools: dict[str, WorkerPool] = {}
        self._repeats = Repeats()
        self._turn = 0
        self.running = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pool_count(self) -> int:
        """Return how many pools there are."""
        return len(self._pools)

    async def start(self) -> None:
        """Make the pools again that the directory names. A second call does nothing.

        Raises:
            InvalidConfig: the file there cannot be read.
        """
        if self.running:
            return
        self.running = True
        for pool_id, worker_type in self._file.read().items():
            await self._add(pool_id, worker_type)

    async def stop(self, timeout: float = SHUTDOWN_SECONDS) -> None:  # noqa: ASYNC109  # the name it has in the original
        """Shut all pools down; tasks may end within ``timeout`` seconds. The directory still names the pools."""
        pools, self._pools = list(self._pools.values()), {}
        self.running = False
        await asyncio.gather(*(pool.shutdown(timeout) for pool in pools))
        if self._owns_runner:
            await self._runner.close()

    async def create_pool(self, pool_id: str | None = None, *, worker_type: str | None = None) -> WorkerPool:
        """Make a pool and start its workers; without an id it gets one.

        Raises:
            InvalidField: the id cannot be used, or there are too many pools.
            PoolConflict: there is a pool of that id.
        """
        wanted = pool_id or f"pool_{uuid.uuid4().hex[:8]}"
        _check_id(wanted, self._pools)
        pool = await self._add(wanted, worker_type)
        self._keep()
        return pool

    def get_pool(self, pool_id: str) -> WorkerPool:
        """Return a pool.

        Raises:
            PoolNotFound: there is none of that id.
        """
        if pool_id not in self._pools:
            raise _not_found(pool_id, sorted(self._pools))
        return self._pools[pool_id]

    async def execute_on_pool(
        self,
        pool_id: str,
        prompt: str,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the name it has in the original
    ) -> ExecutionResult:
        """Run a prompt on a pool; see ``WorkerPool.execute``. With a ``task_id`` in the context it runs once.

        Raises:
            PoolNotFound: there is none of that id.
            InvalidField: prompt, context or timeout cannot be used.
        """
        pool = self.get_pool(pool_id)
        identity = identity_of(pool_id, prompt, context)
        return await self._repeats.run(identity, lambda: pool.execute(prompt, context, timeout))

    async def execute_batch_on_pool(
        self,
        pool_id: str,
        prompts: Sequence[str],
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the name it has in the original
    ) -> list[ExecutionResult]:
        """Run several prompts on a pool at once; see ``WorkerPool.execute_batch``.

        Raises:
            PoolNotFound: there is none of that id.
            InvalidField: a prompt, the context or the timeout cannot be used; nothing was run.
        """
        return await self.get_pool(pool_id).execute_batch(prompts, context, timeout)

    async def route_task(
        self,
        prompt: str,
        context: Mapping[str, Any] | None = None,
        selector: str = "least_loaded",
        timeout: float | None = None,  # noqa: ASYNC109  # the name it has in the original
    ) -> tuple[str, ExecutionResult]:
        """Run a prompt on the pool that ``selector`` chooses among the healthy ones (all, when none is).

        Raises:
            UnknownChoice: there is no such selector.
            NoPoolAvailable: there is no pool.
            InvalidField: prompt, context or timeout cannot be used.
        """
        self._turn += 1
        pool = _choose(selector, list(self._pools.values()), turn=self._turn)
        return pool.pool_id, await pool.execute(prompt, context, timeout)

    async def list_pools(self) -> list[dict[str, JsonValue]]:
        """Return the status of every pool, in the order of their ids."""
        return [self._pools[pool_id].get_status() for pool_id in sorted(self._pools)]

    async def get_health_status(self) -> dict[str, JsonValue]:
        """Return how many pools there are and how many of them are healthy, with the health of each."""
        details = await asyncio.gather(*(self._pools[pool_id].health_check() for pool_id in sorted(self._pools)))
        healthy = sum(one["status"] == "healthy" for one in details)
        whole = "healthy" if healthy == len(details) else "degraded"
        return {"status": whole, "pools_total": len(details), "pools_healthy": healthy, "pool_details": list(details)}

    async def delete_pool(self, pool_id: str, timeout: float = SHUTDOWN_SECONDS) -> bool:  # noqa: ASYNC109  # original
        """Remove a pool; its tasks may end within ``timeout`` seconds. Return False when there is none of that id."""
        pool = self._pools.pop(pool_id, None)
        if pool is None:
            return False
        self._keep()
        await pool.shutdown(timeout)
        return True

    async def _add(self, pool_id: str, worker_type: str | None) -> WorkerPool:
        pool = self._pools[pool_id] = WorkerPool(pool_id, worker_type=worker_type, runner=self._runner)
        await pool.initialize()
        return pool

    def _keep(self) -> None:
        self._file.write({pool_id: pool.worker_type for pool_id, pool in self._pools.items()})


def _check_id(wanted: str, pools: Collection[str]) -> None:
    if not POOL_ID.fullmatch(wanted):
        remedy = "Use 1 to 100 letters, digits, '.', '_', ':' and '-', the first a letter or digit."
        raise errors.InvalidField.of("pool_id", f"{short(wanted)} cannot be used", remedy)
    if wanted in pools:
        text = f"Pool {wanted} already exists. Use it, delete it with delete_pool, or choose another id."
        raise errors.PoolConflict(text, name=wanted)
    if len(pools) >= MAX_POOLS:
        raise errors.InvalidField.of("pool_id", f"there are {MAX_POOLS} pools already", "Delete some first.")


def _not_found(pool_id: str, known: Sequence[str]) -> errors.PoolNotFound:
    have = f"Pools that exist: {', '.join(known[:20])}." if known else "No pool exists yet."
    text = f"Pool {short(pool_id)} not found. {have} Make one with create_pool."
    return errors.PoolNotFound(text, pool=pool_id, known=list(known))


def _choose(selector: str, pools: Sequence[WorkerPool], *, turn: int) -> WorkerPool:
    """Return the pool that is to take a task; ``turn`` counts the choices and decides among equals."""
    if selector not in SELECTORS:
        raise errors.UnknownChoice.of("selector", selector, SELECTORS)
    if not pools:
        raise errors.NoPoolAvailable("No pool exists. Make one with create_pool.", reasons={})
    fit = [pool for pool in pools if all(worker.trouble() is None for worker in pool.workers)] or pools
    if selector == "random":
        return random.choice(fit)
    if selector == "round_robin":
        return fit[turn % len(fit)]
    fewest = min(pool.load for pool in fit)
    least = [pool for pool in fit if pool.load == fewest]
    return least[turn % len(least)]


async def get_pool_manager() -> PoolManager:
    """Return the started manager of this event loop; the first call makes it. Its pools are not kept."""
    loop = asyncio.get_running_loop()
    manager = _managers.get(loop)
    if manager is None:
        manager = _managers[loop] = PoolManager()
    await manager.start()
    return manager

"""Several pools in one process: made, chosen, watched and removed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import uuid
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.session_buddy.pool import SHUTDOWN_SECONDS, WorkerPool
from mahavishnu_pools.session_buddy.runner import PromptRunner, Runner
from mahavishnu_pools.session_buddy.worker import ExecutionResult
from mahavishnu_pools.wording import short

#: How ``route_task`` chooses a pool.
SELECTORS = ("least_loaded", "round_robin", "random")

#: Pools one manager may have.
MAX_POOLS = 1000

#: The file in the directory of a manager that names its pools.
POOLS_FILE = "pools.json"

_POOL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")

# The seed's `get_pool_manager` gives the same manager to all code of an event loop; it goes with the loop.
_managers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, PoolManager] = weakref.WeakKeyDictionary()


class PoolManager:
    """Pools that share one runner of prompts.

    With a ``directory`` the pools' names and worker types are kept there, and ``start`` makes them again; their tasks
    and numbers are not kept. Without a ``runner`` the manager has one of its own, which ends with it.
    """

    def __init__(self, *, directory: Path | None = None, runner: Runner | None = None) -> None:
        self._file = None if directory is None else directory / POOLS_FILE
        self._runner = runner or PromptRunner()
        self._owns_runner = runner is None
        self._pools: dict[str, WorkerPool] = {}
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
        for pool_id, worker_type in _read(self._file).items():
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
        if not _POOL_ID.fullmatch(wanted):
            remedy = "Use 1 to 100 letters, digits, '.', '_', ':' and '-', the first a letter or digit."
            raise errors.InvalidField.of("pool_id", f"{short(wanted)} cannot be used", remedy)
        if wanted in self._pools:
            text = f"Pool {wanted} already exists. Use it, delete it with delete_pool, or choose another id."
            raise errors.PoolConflict(text, name=wanted)
        if len(self._pools) >= MAX_POOLS:
            raise errors.InvalidField.of("pool_id", f"there are {MAX_POOLS} pools already", "Delete some first.")
        pool = await self._add(wanted, worker_type)
        self._keep()
        return pool

    def get_pool(self, pool_id: str) -> WorkerPool:
        """Return a pool.

        Raises:
            PoolNotFound: there is none of that id.
        """
        if pool_id in self._pools:
            return self._pools[pool_id]
        known = ", ".join(sorted(self._pools)[:20])
        have = f"Pools that exist: {known}." if known else "No pool exists yet."
        text = f"Pool {short(pool_id)} not found. {have} Make one with create_pool."
        raise errors.PoolNotFound(text, pool=pool_id, known=sorted(self._pools))

    async def execute_on_pool(
        self,
        pool_id: str,
        prompt: str,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the name it has in the original
    ) -> ExecutionResult:
        """Run a prompt on a pool; see ``WorkerPool.execute``.

        Raises:
            PoolNotFound: there is none of that id.
            InvalidField: prompt, context or timeout cannot be used.
        """
        return await self.get_pool(pool_id).execute(prompt, context, timeout)

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
        pool = self._choose(selector)
        return pool.pool_id, await pool.execute(prompt, context, timeout)

    async def list_pools(self) -> list[dict[str, JsonValue]]:
        """Return the status of every pool, by id."""
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

    def _choose(self, selector: str) -> WorkerPool:
        if selector not in SELECTORS:
            raise errors.UnknownChoice.of("selector", selector, SELECTORS)
        pools = [self._pools[pool_id] for pool_id in sorted(self._pools)]
        if not pools:
            raise errors.NoPoolAvailable("No pool exists. Make one with create_pool.", reasons={})
        fit = [pool for pool in pools if all(worker.trouble() is None for worker in pool.workers)] or pools
        self._turn += 1
        if selector == "random":
            return random.choice(fit)
        if selector == "round_robin":
            return fit[self._turn % len(fit)]
        fewest = min(pool.load for pool in fit)
        least = [pool for pool in fit if pool.load == fewest]
        return least[self._turn % len(least)]

    def _keep(self) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        told = {pool_id: pool.worker_type for pool_id, pool in sorted(self._pools.items())}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(told, indent=1), encoding="utf-8")
        os.replace(new, self._file)


async def get_pool_manager() -> PoolManager:
    """Return the started manager of this event loop; the first call makes it. Its pools are not kept."""
    loop = asyncio.get_running_loop()
    manager = _managers.get(loop)
    if manager is None:
        manager = _managers[loop] = PoolManager()
    await manager.start()
    return manager


def _read(file: Path | None) -> dict[str, str | None]:
    if file is None or not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(one, str | None) for one in found.values()):
            return {str(pool_id): one for pool_id, one in found.items() if _POOL_ID.fullmatch(str(pool_id))}
        raise ValueError("it must map pool ids to worker types or null")
    except (OSError, ValueError) as exc:
        text = f"{file} cannot be read: {exc}. Correct it, or remove it: the pools are then made anew by their users."
        raise errors.InvalidConfig(text, file=str(file)) from exc

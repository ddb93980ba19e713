"""The tools that run tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mahavishnu_pools import names
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_tools import Answer, Caller, Tool
from mahavishnu_pools.routing.distributing import Distribution
from mahavishnu_pools.routing.eligibility import PoolFilter
from mahavishnu_pools.schemas.pool import PoolInfo
from mahavishnu_pools.schemas.task import DistributionResult, TaskResult
from mahavishnu_pools.server import arguments, results, texts
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.waiting import Waiting
from mahavishnu_pools.store.tasks import Submitted

#: Pools that worker_spawn makes are called this and the worker type, as on the command line.
WORKERS = "workers-"

#: Why a task that its client took back is cancelled.
TAKEN_BACK = "The MCP client cancelled the call."

_WORK = set(arguments.Work.model_fields)


class TaskTools:
    """The tools that send tasks to the pools of one stack."""

    def __init__(self, pools: Pools, waiting: Waiting) -> None:
        self._pools = pools
        self._waiting = waiting

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        a, r = arguments, results
        run = "Run a task on a pool and return its outcome, or after wait_seconds its id."
        route = "Run a task on the pool that is chosen for it; else as pool_execute."
        many = "Send many tasks as one batch and return its id at once; none is sent when one cannot be used."
        spread = "Split a list over several pools, a task each, and return all outcomes."
        workers = "Have workers of a type: the older form of pool_spawn."
        on_worker = "Run a task on workers: the older form of pool_execute."
        return (
            Tool("pool_execute", run, a.ExecuteOnPool, self.execute, r.Told, attended=True),
            Tool("pool_route_execute", route, a.RouteTask, self.route, r.Told, attended=True),
            Tool("pool_submit", "Send a task and return its id at once.", a.SubmitTask, self.submit, r.Submitted),
            Tool("pool_submit_many", many, a.SubmitTasks, self.submit_many, r.SubmittedMany),
            Tool("pool_distribute", spread, a.Distribute, self.distribute, r.BatchTold, attended=True),
            Tool("worker_spawn", workers, a.SpawnWorkers, self.spawn_workers, r.Workers),
            Tool("worker_execute", on_worker, a.ExecuteOnWorker, self.execute_on_worker, r.Told, attended=True),
        )

    async def execute(self, given: arguments.ExecuteOnPool, caller: Caller) -> Answer:
        """Run a task on a pool; that it failed is an answer, not an error of the tool."""
        return await self._run(given, caller, given.wait_seconds, pool=given.pool_id)

    async def route(self, given: arguments.RouteTask, caller: Caller) -> Answer:
        """Run a task on the chosen pool."""
        where = {"pool_selector": given.pool_selector, "pool_affinity": given.pool_affinity, "explain": given.explain}
        return await self._run(given, caller, given.wait_seconds, filters=filters_of(given), **where)

    async def submit(self, given: arguments.SubmitTask) -> Answer:
        """Send a task."""
        manager = await self._pools.manager()
        where: dict[str, Any] = {"pool_selector": given.pool_selector, "pool_affinity": given.pool_affinity}
        where["explain"] = given.explain
        sent = await manager.submit(task_of(given), pool=given.pool_id, filters=filters_of(given), **where)
        value = results.Submitted(
            task_id=sent.task_id,
            pool_id=sent.pool_id,
            new=sent.new,
            status="waiting" if sent.waiting else "awaiting_approval" if sent.held else "queued",
        )
        text = f"Task {sent.task_id} is queued on pool {sent.pool_id}. Ask for it with pool_task."
        if sent.held:
            text = f"Task {sent.task_id} awaits approval by a person. Ask for it with pool_task."
        if sent.waiting:
            text = f"Task {sent.task_id} waits for those it comes after. Ask for it with pool_task."
        return Answer(text, value.model_dump(mode="json"))

    async def submit_many(self, given: arguments.SubmitTasks) -> Answer:
        """Send many tasks."""
        manager = await self._pools.manager()
        tasks, batch_id = [task_of(one) for one in given.tasks], names.new_batch_id()
        where: dict[str, Any] = {"pool": given.pool_id, "pool_selector": given.pool_selector}
        sent = await manager.submit_many(tasks, filters=filters_of(given), batch_id=batch_id, **where)
        ids, known = [one.task_id for one in sent], [one.task_id for one in sent if not one.new]
        value = results.SubmittedMany(batch_id=batch_id, total=len(sent), task_ids=ids, known=known)
        before = f" {len(known)} had been submitted before." if known else ""
        text = f"{len(sent)} tasks are batch {batch_id}.{before} Ask for it with pool_task (batch_id={batch_id})."
        return Answer(text, value.model_dump(mode="json"))

    async def distribute(self, given: arguments.Distribute, caller: Caller) -> Answer:
        """Split a task over pools."""
        manager = await self._pools.manager()
        names = {"strategy", "pools", "split_on", "chunk_size", "reducer"}
        how: dict[str, Any] = {name: getattr(given, name) for name in names}
        sending = manager.start_distribution(task_of(given), filters=filters_of(given), **how)
        async with self._waiting.sent(sending, caller, _cancel_batch(manager)) as started:
            return await self._gathered(manager, started, given.wait_seconds)

    async def spawn_workers(self, given: arguments.SpawnWorkers) -> Answer:
        """Have workers of a type."""
        manager = await self._pools.manager()
        name = WORKERS + (given.worker_type or "default")
        info = next((pool for pool in await manager.list_pools() if pool.name == name), None)
        if info is None:
            fields: dict[str, Any] = {"worker_type": given.worker_type, "min_workers": 1, "auto_scale": False}
            await manager.spawn_pool("mahavishnu", name=name, max_workers=given.count, **fields)
            info = await manager.pool_info(name)
        info = await manager.scale_pool(name, given.count, max_workers=max(given.count, info.max_workers))
        return _workers(info)

    async def execute_on_worker(self, given: arguments.ExecuteOnWorker, caller: Caller) -> Answer:
        """Run a task on workers; which of a pool's takes it is not for clients to say."""
        return await self._run(given, caller, given.wait_seconds, pool=given.worker_id.partition("/")[0])

    async def _run(self, given: arguments.Work, caller: Caller, seconds: float, **where: Any) -> Answer:
        manager = await self._pools.manager()
        sending = manager.submit(task_of(given), **where)
        async with self._waiting.sent(sending, caller, _cancel(manager)) as sent:
            result = await self._waiting.outcome(manager, sent.task_id, seconds, caller)
        return told(result, new=sent.new)

    async def _gathered(self, manager: PoolManager, started: Distribution, seconds: float) -> Answer:
        gathering = lambda: manager.gather(started, wait_timeout=seconds)  # noqa: E731 - typed by what it is given to
        found = await self._waiting.gathered(gathering, seconds)
        return await batch_told(manager, started.batch_id, found)


def task_of(given: arguments.Work) -> dict[str, Any]:
    """Return a task as the manager takes it, with only what was given."""
    return given.model_dump(mode="json", include=_WORK, exclude_none=True)


def filters_of(given: arguments.Filtered) -> PoolFilter | None:
    """Return what pools must be like, None: nothing was asked."""
    wanted = PoolFilter(
        pool_type=given.pool_type, tags=tuple(given.tags), region=given.region, worker_type=given.pool_worker_type
    )
    return None if wanted == PoolFilter() else wanted


def told(result: TaskResult, *, new: bool = True) -> Answer:
    """Return what is answered of a task."""
    value = {**result.model_dump(mode="json"), "ended": result.done, "new": new}
    return Answer(texts.task(result), value)


async def batch_told(manager: PoolManager, batch_id: str, found: DistributionResult | None) -> Answer:
    """Return what is answered of a batch; ``found`` None: it goes on."""
    batch = await manager.batch(batch_id)
    value: dict[str, Any] = {
        **batch.model_dump(mode="json"),
        "ended": found is not None,
        "items": None,
        "reduced": None,
    }
    if found is None:
        ended = batch.successful + batch.failed
        return Answer(texts.batch_goes_on(batch_id, ended, batch.total), value)
    value |= {
        "successful": found.successful,
        "failed": found.failed,
        "items": [one.model_dump(mode="json") for one in found.items],
        "reduced": found.reduced,
    }
    return Answer(texts.batch(batch_id, found.items), value)


def _cancel(manager: PoolManager) -> Callable[[Submitted], Any]:
    async def end(sent: Submitted) -> None:
        # What somebody had submitted before, under the same key, is theirs.
        if sent.new:
            await manager.cancel(sent.task_id, reason=TAKEN_BACK)

    return end


def _cancel_batch(manager: PoolManager) -> Callable[[Distribution], Any]:
    async def end(started: Distribution) -> None:
        if not started.known:
            await manager.cancel_batch(started.batch_id, reason=TAKEN_BACK)
            return
        # As above.
        known = set(started.known)
        for task_id in started.task_ids:
            if task_id not in known:
                await manager.cancel(task_id, reason=TAKEN_BACK)

    return end


def _workers(info: PoolInfo) -> Answer:
    value = results.Workers(worker_ids=[f"{info.name}/{number}" for number in range(1, info.workers + 1)], pool=info)
    text = f"✅ {info.workers} workers are in pool {info.name}. Use them with worker_execute."
    return Answer(text, value.model_dump(mode="json"))

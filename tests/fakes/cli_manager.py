"""A pool manager in memory for tests of the command line: two pools, tasks that end at once, every call noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.moving import ClosedPool, DrainedPool, PoolBalance, Rebalanced, TaskMove
from mahavishnu_pools.schemas.pool import PoolConfig, PoolInfo, PoolStatus
from mahavishnu_pools.schemas.task import DistributionResult, TaskResult, TaskSpec, TaskStatus

MOMENT = datetime(2026, 2, 5, 10, 23, 45, tzinfo=UTC)


def pool_info(name: str = "local", **fields: Any) -> PoolInfo:
    """Return a pool as the seeds show it."""
    given = {
        "pool_id": f"pool_{name}",
        "name": name,
        "pool_type": "mahavishnu",
        "status": PoolStatus.RUNNING,
        "workers": 5,
        "min_workers": 2,
        "max_workers": 10,
        "created_at": 0.0,
    }
    return PoolInfo(**{**given, **fields})


def task_result(task_id: str = "task_abc123", **fields: Any) -> TaskResult:
    """Return a task that completed, as the seeds show it."""
    given = {
        "task_id": task_id,
        "pool_id": "pool_local",
        "worker_id": "worker_1",
        "task_type": "analyze",
        "status": TaskStatus.COMPLETED,
        "output": "Analysis complete: 15 issues found",
        "exit_code": 0,
        "duration": 5.23,
        "attempts": 1,
        "created_at": MOMENT,
        "started_at": MOMENT,
    }
    return TaskResult(**{**given, **fields})


class FakeManager:
    """Knows the pools ``local``, ``local-pool`` and ``pool_abc`` and the task ``task_abc123``."""

    def __init__(self, *, result: TaskResult | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.closed = False
        self.outcome = result or task_result()
        self.wait: Callable[[], Any] | None = None
        self.movable = 2
        self.answer = "asked"
        #: Whether what is submitted is new; else its idempotency key was known.
        self.new = True
        self.pools = [pool_info("local"), pool_info("local-pool"), pool_info("k8s", pool_id="pool_abc")]

    def called(self, name: str) -> dict[str, Any]:
        """Return the arguments of the one call of this name."""
        found = [arguments for called, arguments in self.calls if called == name]
        assert len(found) == 1, f"{name} was called {len(found)} times"
        return found[0]

    def _find(self, pool: str) -> PoolInfo:
        for info in self.pools:
            if pool in (info.pool_id, info.name):
                return info
        raise errors.PoolNotFound.of(pool, [info.name for info in self.pools])

    async def close(self) -> None:
        self.closed = True

    async def list_pools(self, *, active_only: bool = False, pool_type: str | None = None) -> list[PoolInfo]:
        self.calls.append(("list_pools", {"active_only": active_only, "pool_type": pool_type}))
        return [info for info in self.pools if pool_type in (None, info.pool_type)]

    async def pool_info(self, pool: str) -> PoolInfo:
        return self._find(pool)

    async def spawn_pool(self, pool_type: str, config: PoolConfig, *, wait: bool = True) -> str:
        self.calls.append(("spawn_pool", {"pool_type": pool_type, "config": config, "wait": wait}))
        limits = {"workers": config.min_workers, "min_workers": config.min_workers, "max_workers": config.max_workers}
        self.pools.append(pool_info(config.name, pool_id="pool_new", pool_type=pool_type, **limits))
        return "pool_new"

    async def submit(self, task: dict[str, Any], **where: Any) -> Any:
        spec = TaskSpec(**task)
        self.calls.append(("submit", {"task": task, "spec": spec, **where}))
        pool = self._find(where["pool"]) if where.get("pool") else self.pools[0]
        return SimpleNamespace(task_id="task_abc123", pool_id=pool.pool_id, new=self.new, held=False, waiting=False)

    async def result(self, task_id: str, *, wait_timeout: float | None = None) -> TaskResult:
        self.calls.append(("result", {"task_id": task_id, "wait_timeout": wait_timeout}))
        if self.wait is not None:
            await self.wait()
        return self.outcome

    async def task(self, task_id: str) -> TaskResult:
        if task_id != "task_abc123":
            raise errors.TaskNotFound.of(task_id)
        return self.outcome

    async def follow(self, task_id: str, *, wait_timeout: float | None = None) -> AsyncIterator[Any]:
        self.calls.append(("follow", {"task_id": task_id, "wait_timeout": wait_timeout}))
        for text in ("one\n", "two\n"):
            yield SimpleNamespace(text=text, stream="stdout", after_cut=False)

    async def cancel(self, task_id: str, *, reason: str) -> str:
        self.calls.append(("cancel", {"task_id": task_id, "reason": reason}))
        return self.answer

    async def start_distribution(self, task: dict[str, Any], **how: Any) -> Any:
        self.calls.append(("start_distribution", {"task": task, **how}))
        known = () if self.new else ("task_1",)
        return SimpleNamespace(batch_id="batch_1", task_ids=("task_1", "task_2"), strategy=how["strategy"], known=known)

    async def gather(
        self, started: Any, *, wait_timeout: float | None, on_progress: Callable[[int, int], None] | None = None
    ) -> DistributionResult:
        self.calls.append(("gather", {"wait_timeout": wait_timeout}))
        if self.wait is not None:
            await self.wait()
        if on_progress is not None:
            on_progress(1, 1)
        ok = int(self.outcome.ok)
        return DistributionResult(
            batch_id=started.batch_id,
            strategy=started.strategy,
            total=1,
            successful=ok,
            failed=1 - ok,
            items=(self.outcome,),
            reduced="all of it",
        )

    async def scale_pool(self, pool: str, target: int, *, max_workers: int | None = None) -> PoolInfo:
        self.calls.append(("scale_pool", {"pool": pool, "target": target, "max_workers": max_workers}))
        return self._find(pool).model_copy(update={"workers": target})

    async def pause_pool(self, pool: str) -> PoolInfo:
        return self._find(pool).model_copy(update={"status": PoolStatus.PAUSED})

    async def resume_pool(self, pool: str) -> PoolInfo:
        return self._find(pool)

    async def drain_pool(self, pool: str, *, timeout: float | None = None) -> DrainedPool:  # noqa: ASYNC109 - the manager's name
        self.calls.append(("drain_pool", {"pool": pool, "timeout": timeout}))
        fields = {**self._find(pool).model_dump(), "status": PoolStatus.DRAINING, "queued": 3}
        return DrainedPool(**fields, ended=2, handed_back=1)

    async def close_pool(self, pool: str, **how: Any) -> ClosedPool:
        self.calls.append(("close_pool", {"pool": pool, **how}))
        found = self._find(pool)
        if how["tasks"] == "refuse" and found.queued:
            raise errors.PoolBusy.of(found.name, found.queued, found.running)
        moves = (TaskMove(source="s", target="t", source_name=found.name, target_name="local", priority=5, tasks=7),)
        return ClosedPool(
            pool_id=found.pool_id,
            name=found.name,
            cancelled=found.queued if how["tasks"] == "cancel" else 0,
            moves=moves if how["tasks"] == "move" else (),
        )

    async def close_all(self, scope: str = "own") -> list[str]:
        self.calls.append(("close_all", {"scope": scope}))
        return [info.pool_id for info in self.pools]

    async def health_check(self, pool: str | None = None) -> dict[str, Any]:
        shown = self.pools if pool is None else [self._find(pool)]
        rows = [
            {"pool_id": p.pool_id, "name": p.name, "status": p.status.value, "workers": p.workers, "reason": None}
            for p in shown
        ]
        return {"status": "healthy", "pools_active": len(shown), "pools": rows, "agents": 1}

    async def stats(self, *, by_type: bool = False) -> dict[str, Any]:
        figures = {"pools": 3, "pools_active": 3, "workers": 15}
        found: dict[str, Any] = {**figures, "tasks": {"queued": 0}, "memory_mb": None}
        return {**found, "by_type": {"mahavishnu": figures}} if by_type else found

    async def rebalance(self, strategy: str, *, pools: tuple[str, ...] | None, dry_run: bool) -> Rebalanced:
        self.calls.append(("rebalance", {"strategy": strategy, "pools": pools, "dry_run": dry_run}))
        names = {"source_name": "local", "target_name": "k8s"}
        move = TaskMove(source="pool_local", target="pool_abc", **names, priority=5, tasks=self.movable)
        balance = PoolBalance(
            pool_id="pool_local", name="local", queued_before=4, queued_after=2, load_before=4.0, load_after=2.0
        )
        moves = (move,) if self.movable else ()
        left_out = {"local-pool": "it is paused"}
        return Rebalanced(
            strategy=strategy, dry_run=dry_run, moved=self.movable, moves=moves, pools=(balance,), left_out=left_out
        )

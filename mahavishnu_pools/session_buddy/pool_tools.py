"""The pool tools of the server: nine, named as in the original; each answers in fields and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_serving import Answer, Tool
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.session_buddy.manager import PoolManager
from mahavishnu_pools.session_buddy.pool import SHUTDOWN_SECONDS
from mahavishnu_pools.session_buddy.worker import ExecutionResult

#: Prompts one batch may have.
MAX_BATCH = 1000

#: Characters of a task's output that its sentence shows; the fields have all of it.
SHOWN = 2000


class NoArguments(Value):
    """Nothing."""


class CreatePool(Value):
    """A new pool; without an id it gets one. ``worker_type`` runs the prompts that name none in their context."""

    pool_id: str | None = None
    worker_type: str | None = None


_CONTEXT = "cwd (or repo), worker_type, env"

#: What clients see of a prompt's identity: by it they know that they may send a prompt again.
_KNOWN_BY: dict[str, JsonValue] = {
    "task_id": {"type": "string", "description": "The same one runs once: its result is kept for an hour."},
    "attempt": {"type": "integer", "description": "Another one runs again what did not complete."},
}


class _Execution(Value):
    context: dict[str, JsonValue] | None = Field(default=None, description=f"{_CONTEXT}.")
    timeout: float | None = Field(default=None, description="Seconds, waiting included; none: 300.")


class ExecuteOnPool(_Execution):
    """A prompt for a pool. With a ``task_id`` in its context it runs once, however often it is sent."""

    context: dict[str, JsonValue] | None = Field(
        default=None, description=f"{_CONTEXT}, task_id, attempt.", json_schema_extra={"properties": _KNOWN_BY}
    )
    pool_id: str
    prompt: str


class ExecuteBatch(_Execution):
    """Several prompts for a pool."""

    pool_id: str
    prompts: list[str] = Field(min_length=1, max_length=MAX_BATCH)


class RouteToPool(_Execution):
    """A prompt for the pool that the selector chooses."""

    prompt: str
    selector: str = Field(default="least_loaded", description="least_loaded, round_robin or random.")


class OnePool(Value):
    """A pool."""

    pool_id: str


class PerhapsOnePool(Value):
    """A pool, or all."""

    pool_id: str | None = None


class DeletePool(Value):
    """A pool, and how many seconds its tasks may still take."""

    pool_id: str
    timeout: float = Field(default=SHUTDOWN_SECONDS, ge=0, le=3600)


class PoolTools:
    """The tools on one manager."""

    def __init__(self, manager: PoolManager) -> None:
        self._manager = manager

    def tools(self) -> Sequence[Tool]:
        """Return the nine tools."""
        return (
            Tool("create_pool", "Create a pool of exactly 3 workers.", CreatePool, self.create),
            Tool("execute_on_pool", "Run a prompt on a pool and return its output.", ExecuteOnPool, self.execute),
            Tool("execute_batch_on_pool", "Run several prompts on a pool at once.", ExecuteBatch, self.execute_batch),
            Tool("route_to_pool", "Run a prompt on the pool that is chosen for it.", RouteToPool, self.route),
            Tool("list_pools", "List the pools with their numbers.", NoArguments, self.list),
            Tool("get_pool_status", "Return the numbers of a pool and its workers.", OnePool, self.status),
            Tool("check_pool_health", "Tell which workers are unhealthy, and why.", PerhapsOnePool, self.health),
            Tool("delete_pool", "Delete a pool; its tasks may end first.", DeletePool, self.delete),
            Tool("get_pool_manager_status", "Return a summary of all pools.", NoArguments, self.summary),
        )

    async def create(self, given: CreatePool) -> Answer:
        """Create a pool."""
        pool = await self._manager.create_pool(given.pool_id, worker_type=given.worker_type)
        return Answer(f"✅ Created pool {pool.pool_id} with {len(pool.workers)} workers", pool.get_status())

    async def execute(self, given: ExecuteOnPool) -> Answer:
        """Run a prompt; that the task failed is an answer, not an error of the tool."""
        result = await self._manager.execute_on_pool(given.pool_id, given.prompt, given.context, given.timeout)
        return Answer(_sentence(result), result.model_dump(mode="json"))

    async def execute_batch(self, given: ExecuteBatch) -> Answer:
        """Run several prompts."""
        results = await self._manager.execute_batch_on_pool(given.pool_id, given.prompts, given.context, given.timeout)
        completed = sum(result.status == "completed" for result in results)
        lines = [f"Executed {len(results)} tasks on pool {given.pool_id}: {completed} completed"]
        lines += [f"  {number}. {_sentence(result, shown=200)}" for number, result in enumerate(results, start=1)]
        listed: list[JsonValue] = [result.model_dump(mode="json") for result in results]
        counts = {"total": len(results), "completed": completed, "failed": len(results) - completed}
        return Answer("\n".join(lines), {"pool_id": given.pool_id, **counts, "results": listed})

    async def route(self, given: RouteToPool) -> Answer:
        """Run a prompt on the chosen pool."""
        routed = self._manager.route_task(given.prompt, given.context, given.selector, given.timeout)
        pool_id, result = await routed
        text = f"Routed task to pool {pool_id} using {given.selector}. {_sentence(result)}"
        return Answer(text, {**result.model_dump(mode="json"), "selector": given.selector})

    async def list(self, _: NoArguments) -> Answer:
        """List the pools."""
        pools = await self._manager.list_pools()
        lines = [f"📊 Pools ({len(pools)} total):"]
        lines += [f"  - {one['pool_id']}: running={one['running']}, workers={one['workers']}" for one in pools]
        return Answer("\n".join(lines), {"total": len(pools), "pools": list(pools)})

    async def status(self, given: OnePool) -> Answer:
        """Return a pool's numbers."""
        found = self._manager.get_pool(given.pool_id).get_status()
        return Answer(_status_text(found), found)

    async def health(self, given: PerhapsOnePool) -> Answer:
        """Return the health of a pool, or of all."""
        if given.pool_id is None:
            found = await self._manager.get_health_status()
            text = f"🏥 {found['pools_healthy']}/{found['pools_total']} pools are healthy"
            return Answer(text, found)
        health = await self._manager.get_pool(given.pool_id).health_check()
        lines = [
            f"🏥 Pool {given.pool_id} health:",
            f"Status: {health['status']}",
            f"Healthy workers: {health['workers_healthy']}/{health['workers_total']}",
        ]
        troubles = health["troubles"]
        lines += [f"  - {name}: {trouble}" for name, trouble in troubles.items()] if isinstance(troubles, dict) else []
        return Answer("\n".join(lines), health)

    async def delete(self, given: DeletePool) -> Answer:
        """Delete a pool."""
        if not await self._manager.delete_pool(given.pool_id, given.timeout):
            text = f"Pool {given.pool_id} not found. list_pools shows those that exist."
            raise errors.PoolNotFound(text, pool=given.pool_id)
        return Answer(f"✅ Deleted pool {given.pool_id}", {"pool_id": given.pool_id, "deleted": True})

    async def summary(self, _: NoArguments) -> Answer:
        """Return a summary of all pools."""
        pools = await self._manager.list_pools()
        health = await self._manager.get_health_status()
        names = ("tasks_submitted", "tasks_completed", "tasks_failed", "tasks_running", "queue_size")
        sums: dict[str, JsonValue] = {name: sum(int(str(one[name])) for one in pools) for name in names}
        text = f"📊 {health['pools_total']} pools, {health['pools_healthy']} healthy\n" + "\n".join(
            f"{name.replace('_', ' ').capitalize()}: {value}" for name, value in sums.items()
        )
        counts = {name: health[name] for name in ("status", "pools_total", "pools_healthy")}
        return Answer(text, {"running": self._manager.running, **counts, **sums})


def _sentence(result: ExecutionResult, *, shown: int = SHOWN) -> str:
    # Failures begin with no ❌: clients take that for a call that went wrong, but the call did what it should.
    where = f"on pool {result.pool_id}" + (f" by worker {result.worker_id}" if result.worker_id else "")
    if result.status == "completed":
        output = result.output.strip()
        return f"✅ Task executed {where}" + (f":\n{output[:shown]}" if output else "")
    return f"Task ended with status {result.status} {where}: {result.error}"


def _status_text(found: Mapping[str, Any]) -> str:
    return "\n".join(
        (
            f"Pool {found['pool_id']}:",
            f"Running: {found['running']}",
            f"Workers: {found['workers']}",
            f"Queue size: {found['queue_size']}",
            f"Tasks submitted: {found['tasks_submitted']}",
            f"Tasks completed: {found['tasks_completed']}",
            f"Tasks failed: {found['tasks_failed']}",
            f"Success rate: {found['success_rate']:.1%}",
        )
    )

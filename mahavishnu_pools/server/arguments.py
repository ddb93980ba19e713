"""What the tools take. The descriptions are what clients and ``docs/mcp.md`` show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.pool import DistributionStrategy, PoolSelector
from mahavishnu_pools.schemas.task import TaskStatus
from mahavishnu_pools.schemas.worktree import Isolation

#: Seconds a call waits for an outcome; clients end theirs after a minute.
WAIT_SECONDS = 50.0

#: Seconds a call may wait at most.
LONGEST_WAIT = 3600.0

_POOL = "Id or name of the pool."


class NoArguments(Value):
    """Nothing."""


class OnePool(Value):
    """A pool."""

    pool_id: str = Field(description=_POOL)


class PerhapsOnePool(Value):
    """A pool, or all."""

    pool_id: str | None = Field(default=None, description="Id or name of the pool; none: all.")


class ListPools(Value):
    """Which pools are listed."""

    pool_type: str | None = Field(default=None, description="Only pools of this type.")
    active_only: bool = Field(default=False, description="Only pools that take new tasks.")


class SpawnPool(Value):
    """A new pool."""

    name: str = Field(description="A name nobody else's pool has.")
    pool_type: str | None = Field(default=None, description="mahavishnu (default), session-buddy, kubernetes …")
    min_workers: int | None = Field(default=None, description="Workers it starts with (default 1).")
    max_workers: int | None = Field(default=None, description="Workers it may grow to (default 10).")
    worker_type: str | None = Field(
        default=None, description="How prompts are run, such as terminal-claude; none: the first AI program found."
    )
    auto_scale: bool | None = Field(default=None, description="Scale it by load (default true).")
    tags: list[str] | None = Field(default=None, description="Marks that filters ask for.")
    region: str | None = Field(default=None, description="Where it is.")
    config: dict[str, JsonValue] = Field(
        default_factory=dict, description="More fields of a pool's configuration, such as rate_limit or allowed_roots."
    )
    wait: bool = Field(default=True, description="Wait until its workers are ready.")


class ScalePool(OnePool):
    """A pool's number of workers."""

    target_workers: int = Field(description="How many workers it is to have.")
    max_workers: int | None = Field(default=None, description="Change the limit first.")


class DrainPool(OnePool):
    """A pool to drain."""

    timeout: float | None = Field(default=None, description="Seconds its running tasks get; none: it is not waited.")


class ClosePool(OnePool):
    """A pool to close."""

    tasks: Literal["cancel", "move", "drain", "refuse"] = Field(
        default="cancel", description="What becomes of its tasks; refuse: it is closed only without tasks."
    )
    to: str | None = Field(default=None, description="With tasks=move: the pool that gets them; none: any.")
    timeout: float | None = Field(default=None, description="Seconds its running tasks get.")


class CloseAll(Value):
    """All pools, whoever made them."""

    confirm: bool = Field(default=False, description="Must be true: every pool is closed and its tasks cancelled.")


class Rebalance(Value):
    """Waiting tasks that change their pool."""

    strategy: PoolSelector = Field(default=PoolSelector.LEAST_LOADED, description="How the targets are chosen.")
    pools: list[str] | None = Field(default=None, description="Only these pools (ids or names).")
    dry_run: bool = Field(default=False, description="Only tell what would be moved.")


class Work(Value):
    """What is to be done: a prompt, or a task type with its payload."""

    prompt: str | None = Field(default=None, description="What to do, in words.")
    task_type: str | None = Field(default=None, description="Instead of a prompt: shell, analyze, http, python …")
    payload: dict[str, JsonValue] | None = Field(default=None, description="The input of the task type.")
    timeout: float | None = Field(default=None, description="Seconds one attempt may run (default 300).")
    expires: float | None = Field(default=None, description="Seconds it may wait in the queue.")
    priority: int | None = Field(default=None, description="0 to 9, 9 first (default 5).")
    idempotency_key: str | None = Field(default=None, description="With the same key it is run once.")
    max_retries: int | None = Field(default=None, description="Further attempts; none: by cause.")
    worker_type: str | None = Field(default=None, description="Runs the prompt instead of the pool's.")
    cwd: str | None = Field(default=None, description="Directory to run in, below the pool's allowed roots.")
    env: dict[str, str] | None = Field(default=None, description="Variables to add; secrets are refused here.")
    secrets: list[str] | None = Field(default=None, description="Names from the workers' secrets.env.")
    metadata: dict[str, JsonValue] | None = Field(default=None, description="Kept with the task.")
    needs: list[str] | None = Field(
        default=None, description="What its node must have free: gpu=1, memory=8GiB, or a tag of nodes."
    )
    isolation: Isolation | None = Field(
        default=None,
        description="Share the directory (none), wait for it (lock), or get a git worktree; none: as the pool says.",
    )
    on_worker_lost: Literal["requeue", "fail"] | None = Field(
        default=None, description="fail: it does not run again when its worker is lost."
    )
    memory: bool | None = Field(default=None, description="false: nothing of it is kept in the memory.")
    session: str | None = Field(
        default=None, description="Tasks with the same key go on with one conversation of the AI program."
    )
    approval: Literal["required"] | None = Field(
        default=None, description="required: it runs only when somebody has approved of it."
    )
    approval_timeout: float | None = Field(
        default=None, description="With approval: seconds until it is cancelled unless somebody has (default 7 days)."
    )
    name: str | None = Field(default=None, description="What it is called; others of its batch may come after it so.")
    after: list[str | int] | None = Field(
        default=None,
        description="It runs when these have ended: ids of tasks; in a batch also names, or places there from 0.",
    )
    on_parent_failure: Literal["skip", "fail", "run"] | None = Field(
        default=None,
        description="When one of after does not complete: skip (the default: it is cancelled), fail, or run anyway.",
    )


class _Routed(Value):
    pool_selector: PoolSelector | str | None = Field(
        default=None, description="How the pool is chosen; also fastest, cheapest, or the name a plug-in has."
    )
    pool_affinity: str | None = Field(default=None, description="Tasks with the same key go to the same pool.")


class _Explained(Value):
    explain: bool = Field(default=False, description="Tell with the task how its pool was chosen (routing).")


class Filtered(Value):
    """What pools must be like."""

    pool_type: str | None = Field(default=None, description="Only pools of this type.")
    tags: list[str] = Field(default_factory=list, description="Only pools with all these tags.")
    region: str | None = Field(default=None, description="Only pools in this region.")
    pool_worker_type: str | None = Field(default=None, description="Only pools with this worker type.")


class _Waiting(Value):
    wait_seconds: float = Field(
        default=WAIT_SECONDS,
        ge=0,
        le=LONGEST_WAIT,
        description="How long the call waits; then it tells id and status, and the task goes on.",
    )


class ExecuteOnPool(_Waiting, Work, OnePool):
    """A task for a pool."""


class RouteTask(_Waiting, _Explained, Filtered, _Routed, Work):
    """A task for the pool that is chosen for it."""


class SentTask(Filtered, _Routed, Work):
    """A task and where it goes."""

    pool_id: str | None = Field(default=None, description="Id or name of the pool; none: one is chosen.")


class SubmitTask(_Explained, SentTask):
    """A task that is not waited for."""


class SubmitTasks(Filtered):
    """Many tasks that are not waited for."""

    tasks: list[Work] = Field(min_length=1, max_length=10_000, description="What each is to do, as in pool_submit.")
    pool_id: str | None = Field(default=None, description="Id or name of the pool; none: one is chosen for each.")
    pool_selector: PoolSelector | None = Field(default=None, description="How pools are chosen.")


class Distribute(_Waiting, Filtered, Work):
    """A task whose list is split over several pools."""

    strategy: DistributionStrategy = Field(
        default=DistributionStrategy.ROUND_ROBIN, description="How the parts are spread."
    )
    pools: list[str] | None = Field(default=None, description="Only these pools (ids or names).")
    split_on: str | None = Field(default=None, description="Key of the list (default: items, files, batch or data).")
    chunk_size: int = Field(default=1, ge=1, description="Elements of the list in one task.")
    reducer: str | None = Field(default=None, description="With map_reduce: how the results become one.")


class OneTask(Value):
    """A task, or a batch of them."""

    task_id: str | None = Field(default=None, description="Id of the task.")
    batch_id: str | None = Field(default=None, description="Instead of a task: id of the batch.")
    wait_seconds: float = Field(
        default=0, ge=0, le=LONGEST_WAIT, description="Wait so long for its outcome; 0: tell what is known now."
    )


class ListTasks(Value):
    """Which tasks are listed."""

    pool_id: str | None = Field(default=None, description="Only those of this pool (id or name).")
    status: list[TaskStatus] = Field(default_factory=list, description="Only these; none: all.")
    batch_id: str | None = Field(default=None, description="Only those of this batch, in input order.")
    since: str | None = Field(default=None, description="Only those sent since: 15m, 2h, 1d, or an ISO time.")
    limit: int = Field(default=50, ge=1, le=1000, description="The newest so many.")


class ReadLog(Value):
    """The output of a task."""

    task_id: str = Field(description="Id of the task.")
    last: int = Field(default=16_000, ge=1, le=200_000, description="The last so many characters.")


class CancelTasks(Value):
    """What is to end: a task, a batch, what waits in a pool, or what waits in all. Exactly one is given."""

    task_id: str | None = Field(default=None, description="Id of the task.")
    batch_id: str | None = Field(default=None, description="All tasks of this batch.")
    pool_id: str | None = Field(default=None, description="All waiting tasks of this pool (id or name).")
    queued: Literal[True] | None = Field(default=None, description="True: all waiting tasks of all pools.")


class RetryTasks(Value):
    """Failed tasks that are sent again."""

    task_ids: list[str] = Field(default_factory=list, description="Ids of tasks that failed.")
    batch_id: str | None = Field(default=None, description="Those of this batch that failed.")
    pool_id: str | None = Field(default=None, description="Run them on this pool; none: on their own.")


class SearchMemory(Value):
    """What is looked for in the memories of finished tasks."""

    query: str = Field(description='Words, a "phrase" or begin*; empty: the newest.')
    limit: int = Field(default=10, ge=1, le=1000, description="At most so many.")
    pool_id: str | None = Field(
        default=None, description="Only those of this pool (name, or id, also of a closed one)."
    )
    pool_type: str | None = Field(default=None, description="Only those of pools of this type.")
    task_id: str | None = Field(default=None, description="Only this task.")
    status: Literal["completed", "failed", "timeout", "cancelled", "refused", "dead"] | None = Field(
        default=None, description="Only tasks that ended so."
    )
    since: str | None = Field(default=None, description="Only later ones: 15m, 2h, 1d, or an ISO time.")
    until: str | None = Field(default=None, description="Only earlier ones.")


class SpawnWorkers(Value):
    """Workers of a type."""

    worker_type: str | None = Field(default=None, description="How prompts are run; none: the first AI program found.")
    count: int = Field(default=1, ge=1, le=1000, description="How many there are to be.")


class ExecuteOnWorker(_Waiting, Work):
    """A task for workers that worker_spawn made."""

    worker_id: str = Field(description="As worker_spawn told it, or id or name of a pool.")

"""What a handle of a pool offers, and what a pool type says about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mahavishnu_pools.schemas.moving import DrainedPool
from mahavishnu_pools.schemas.pool import PoolConfig, PoolInfo, PoolMetrics
from mahavishnu_pools.schemas.task import TaskResult, TaskSpec

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

#: What may be given as a task.
Task = TaskSpec | Mapping[str, Any]


class Pool(Protocol):
    """A handle of one pool. It holds no state of its own: every verb asks or changes the pool itself."""

    @property
    def pool_id(self) -> str:
        """Return the pool's id."""
        ...

    @property
    def config(self) -> PoolConfig:
        """Return the configuration as it was when the handle was made."""
        ...

    async def execute(self, task: Task) -> TaskResult:
        """Run a task on the pool and return its outcome, also when it failed."""
        ...

    async def execute_batch(self, tasks: Iterable[Task]) -> list[TaskResult]:
        """Run tasks on the pool and return their outcomes in input order."""
        ...

    async def scale(self, target_workers: int, *, max_workers: int | None = None) -> PoolInfo:
        """Have ``target_workers`` workers; ``max_workers`` raises or lowers the limit first."""
        ...

    async def get_metrics(self) -> PoolMetrics:
        """Return the pool's figures now."""
        ...

    async def health_check(self) -> dict[str, Any]:
        """Return ``pool_id``, ``name``, ``status``, ``workers`` and ``reason``."""
        ...

    async def info(self) -> PoolInfo:
        """Return what is seen of the pool."""
        ...

    async def pause(self) -> PoolInfo:
        """Let running tasks end and start no more."""
        ...

    async def resume(self) -> PoolInfo:
        """Go on after a pause."""
        ...

    async def drain(self, *, timeout: float | None = None) -> DrainedPool:  # noqa: ASYNC109 - public name
        """Take no new tasks and start none; with ``timeout`` (seconds) wait for those that run, then hand them back."""
        ...

    async def close(self) -> None:
        """Close the pool for good."""
        ...


class Operations(Protocol):
    """What handles need of the manager that made them."""

    async def execute_on_pool(self, pool_id: str, task: Task, *, wait_timeout: float | None = None) -> TaskResult:
        """Run a task on a pool."""
        ...

    async def execute_batch_on_pool(self, pool_id: str, tasks: Iterable[Task]) -> list[TaskResult]:
        """Run tasks on a pool."""
        ...

    async def scale_pool(self, pool: str, target: int, *, max_workers: int | None = None) -> PoolInfo:
        """Change a pool's number of workers."""
        ...

    async def pool_info(self, pool: str) -> PoolInfo:
        """Return what is seen of a pool."""
        ...

    async def pause_pool(self, pool: str) -> PoolInfo:
        """Pause a pool."""
        ...

    async def resume_pool(self, pool: str) -> PoolInfo:
        """Resume a pool."""
        ...

    async def drain_pool(self, pool: str, *, timeout: float | None = None) -> DrainedPool:  # noqa: ASYNC109 - public name
        """Drain a pool."""
        ...

    async def close_pool(self, pool: str, *, timeout: float | None = None) -> object:  # noqa: ASYNC109 - public name
        """Close a pool."""
        ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """What people should know of a pool's outside, as sentences; ``lasting``: it will not pass by itself."""

    text: str
    lasting: bool = False


class Outside(Protocol):
    """What a pool has outside of Redis and the node agents, such as objects in a cluster.

    All of it may be repeated: what is there already is changed to what is wanted, what is gone already is no error.
    Errors are ``InvalidInput`` or ``Unavailable`` and say what to do. ``start_timeout`` is how many seconds workers may
    take to come up there, beside what the settings grant.
    """

    @property
    def start_timeout(self) -> float:
        """Return the seconds workers may take to come up."""
        ...

    @property
    def outlives_workers(self) -> bool:
        """Tell whether it is removed after the pool's workers have ended: what they use is not taken from them."""
        ...

    async def check(self, config: PoolConfig) -> None:
        """Refuse what cannot be made there; nothing is changed."""
        ...

    async def make(self, pool_id: str, config: PoolConfig) -> None:
        """Make what the pool needs, before its workers are waited for."""
        ...

    async def scale(self, pool_id: str, config: PoolConfig, *, workers: int) -> None:
        """Have so many workers, within the limits of ``config``, which may be new."""
        ...

    async def remove(self, pool_id: str, config: PoolConfig) -> None:
        """Remove all of it; called before the pool is taken out of the registry, unless it outlives the workers."""
        ...

    async def trouble(self, pool_id: str, config: PoolConfig) -> Trouble | None:
        """Return what is wrong there, None: all is well."""
        ...


def nothing_outside(config: PoolConfig, settings: Settings) -> Outside | None:
    """Say that a pool lives in Redis and on nodes only."""
    return None


@dataclass(frozen=True, slots=True)
class PoolType:
    """One type of pool: its name, its rules and its handle. Plug-ins offer objects of this class.

    ``check`` must raise ``InvalidInput`` when a configuration cannot be used. ``scalable`` tells whether the number of
    workers may change. ``handle`` makes a handle of the pool with this id. ``outside`` returns what makes and removes
    what such a pool needs elsewhere, None: it needs nothing. With ``on_nodes`` node agents run its worker groups, those
    that know the type; without, the type has to bring what runs its tasks.
    """

    name: str
    check: Callable[[PoolConfig], None]
    handle: Callable[[str, PoolConfig, Operations], Pool]
    scalable: bool = True
    outside: Callable[[PoolConfig, Settings], Outside | None] = nothing_outside
    on_nodes: bool = True

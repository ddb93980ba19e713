"""Which pools may get a task, and why each of the others may not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import task_types, worker_types
from mahavishnu_pools.routing.capabilities import lacking
from mahavishnu_pools.routing.distribution import REDUCERS
from mahavishnu_pools.routing.prompts import PROMPTS, command_types, takes_commands, waits_for_login
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.batch_payloads import READ_A_BATCH
from mahavishnu_pools.schemas.needs import NO_NEEDS, Needs
from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES, REMOTE, PoolStatus
from mahavishnu_pools.schemas.task import TaskSpec

if TYPE_CHECKING:
    from mahavishnu_pools.store.pools import NodeInfo, PoolRecord

#: Pool types whose workers hand the task to somebody else, who understands prompts only.
PROMPTS_ONLY = frozenset({"session-buddy"})

#: Built-in task types that are a command for a container; the others run in a worker's own process.
_COMMANDS = frozenset({"prompt", "shell", "container"})

#: A pool in one of these states takes no task any more.
CLOSING_STATUSES = frozenset({PoolStatus.DRAINING, PoolStatus.STOPPED, PoolStatus.FAILED})


class PoolFilter(Value):
    """What pools must be like to get a task; None and empty ask for nothing. All ``tags`` must be there."""

    pool_type: str | None = None
    tags: tuple[str, ...] = ()
    region: str | None = None
    worker_type: str | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a task asks of its pool. ``celery`` is a user's own Celery task, of which nothing else is known."""

    task_type: str = "prompt"
    worker_type: str | None = None
    celery: bool = False
    needs: Needs = NO_NEEDS
    worktree: bool = False
    session: bool = False

    @classmethod
    def of(cls, spec: TaskSpec) -> Need:
        """Return what a specification asks for."""
        return cls(
            spec.task_type,
            spec.worker_type,
            needs=spec.asks_for,
            worktree=spec.isolation == "worktree",
            session=spec.session is not None,
        )

    @property
    def is_prose(self) -> bool:
        """Tell whether it is a prompt for whatever program its pool has: one that is meant for a shell says so."""
        return self.worker_type is None and self.task_type in PROMPTS and not self.celery


@dataclass(frozen=True)
class View:
    """The pools and nodes at one version of the registry, and the worker types this process knows."""

    version: int
    pools: tuple[PoolRecord, ...]
    nodes: tuple[NodeInfo, ...]
    worker_types: Mapping[str, worker_types.WorkerType] = field(default_factory=lambda: worker_types.BUILT_IN)

    def find(self, pool: str) -> PoolRecord | None:
        """Return the pool of this name or id, or None."""
        return next((one for one in self.pools if pool in (one.config.name, one.pool_id)), None)

    def nodes_of(self, pool: PoolRecord) -> tuple[NodeInfo, ...]:
        """Return the living nodes that run a pool."""
        return tuple(node for node in self.nodes if node.alive and node.name in pool.nodes)

    @cached_property
    def task_types(self) -> Mapping[str, Mapping[str, Any] | None]:
        """The task types that some pool's workers have registered beside the built-in ones."""
        return {name: schema for pool in self.pools for name, schema in pool.task_types.items()}

    @cached_property
    def any_takes_prose(self) -> bool:
        """Whether some pool can make something of a prompt; found once, for thousands of tasks."""
        return any(self.takes_prose(pool) for pool in self.pools)

    def reducers(self) -> list[str]:
        """Return the names of the reducers: the built-in ones, and those that some pool's workers have loaded."""
        prefix = task_types.REDUCER_PREFIX
        own = {name.removeprefix(prefix) for name in self.task_types if name.startswith(prefix)}
        return [*REDUCERS, *sorted(own)]

    def is_ai(self, worker_type: str | None) -> bool:
        """Tell whether a worker type understands prose; one that only its node knows counts as such."""
        if worker_type is None:
            return False
        known = self.worker_types.get(worker_type)
        return known is None or known.ai

    def takes_prose(self, pool: PoolRecord) -> bool:
        """Tell whether a pool can make something of a prompt in plain words."""
        return pool.config.delegates or self.is_ai(pool.worker_type)


@dataclass(frozen=True, slots=True)
class Sifted:
    """The pools that may get a task now, those it may wait for, and why each other one was left out, by name."""

    candidates: tuple[str, ...]
    keep: tuple[str, ...]
    reasons: Mapping[str, str]


def sift(view: View, need: Need, *, filters: PoolFilter | None = None, only: Iterable[str] | None = None) -> Sifted:
    """Tell candidates from the rest; ``only`` limits them to pools of these ids, which are named (None: any)."""
    candidates, keep, reasons = [], [], {}
    limited = None if only is None else frozenset(only)
    prose = need.is_prose and limited is None and not (filters and filters.worker_type)
    commands = command_types(view) if prose else ()
    logins = any(node.logged_out for node in view.nodes)
    for pool in view.pools:
        reason = _not_asked_for(pool, limited) or misses(pool, filters) or cannot_run(view, pool, need)
        if commands and reason is None and pool.worker_type in commands:
            reason = takes_commands(pool)
        if reason is None and pool.status not in CLOSING_STATUSES:
            keep.append(pool.pool_id)
        reason = reason or _not_active(pool) or (waits_for_login(view, pool, need) if logins else None)
        if reason is None:
            candidates.append(pool.pool_id)
        else:
            reasons[pool.config.name] = reason
    return Sifted(tuple(candidates), tuple(keep), reasons)


def validate(view: View, spec: TaskSpec) -> None:
    """Refuse a task that no pool of the view could make sense of.

    Raises:
        UnknownChoice: its type is not registered, and no pool would take it as a prompt.
        InvalidField: its payload does not fit its type.
    """
    ai = view.any_takes_prose or view.is_ai(spec.worker_type)
    task_types.validate_payload(spec, known=view.task_types, ai=ai)


def stored_filter(filters: PoolFilter | None) -> str | None:
    """Return a filter as it is kept with a task, None when it asks for nothing."""
    text = filters.model_dump_json(exclude_defaults=True) if filters else "{}"
    return None if text == "{}" else text


def misses(pool: PoolRecord, filters: PoolFilter | None) -> str | None:
    """Return what of the filter a pool does not have, or None."""
    if filters is None:
        return None
    config = pool.config
    for name, wanted, has in (
        ("type", filters.pool_type, config.pool_type),
        ("region", filters.region, config.region),
        ("worker type", filters.worker_type, pool.worker_type),
    ):
        if wanted is not None and wanted != has:
            return f"its {name} is {has or 'none'}, not {wanted}"
    missing = [tag for tag in filters.tags if tag not in config.tags]
    return f"it lacks the tag {', '.join(missing)}" if missing else None


def cannot_run(view: View, pool: PoolRecord, need: Need) -> str | None:
    """Return why a pool cannot run a task, or None."""
    if need.worktree and (pool.config.runs_jobs or pool.config.pool_type in PROMPTS_ONLY):
        return "its tasks run elsewhere, where no worktree can be made"
    if need.session and not _may_have_sessions(view, pool, need):
        return "it runs no AI program, and only those have sessions"
    return _cannot_do(view, pool, need) or _cannot_give(view, pool, need.needs)


def _may_have_sessions(view: View, pool: PoolRecord, need: Need) -> bool:
    # What other instances run only they know.
    elsewhere = pool.config.pool_type in PROMPTS_ONLY or pool.config.pool_type == REMOTE
    return elsewhere or view.is_ai(need.worker_type or pool.worker_type)


def _cannot_give(view: View, pool: PoolRecord, needs: Needs) -> str | None:
    if not needs:
        return None
    living = [node for node in view.nodes if node.alive and node.only_pool in (None, pool.config.name)]
    return lacking(pool, needs, own=view.nodes_of(pool), living=living)


def _cannot_do(view: View, pool: PoolRecord, need: Need) -> str | None:
    if not need.celery and need.task_type.startswith(task_types.REDUCER_PREFIX):
        return _cannot_reduce(pool, need.task_type)
    if pool.config.pool_type in PROMPTS_ONLY:
        return None if _is_prompt(need, pool) else "it runs prompts only"
    if pool.config.pool_type == REMOTE:
        return _cannot_delegate(need)
    if pool.config.runs_jobs:
        return _cannot_be_job(view, pool, need)
    if need.celery:
        known = pool.celery_tasks is None or need.task_type in pool.celery_tasks
        return None if known else f"it has not loaded the Celery task {need.task_type!r} (see celery_app and imports)"
    nodes = view.nodes_of(pool)
    if need.task_type in PROMPTS:
        return _cannot_prompt(pool, need, nodes)
    if need.task_type == "container" and not _runs_containers(nodes):
        return _no_engine(nodes)
    if need.task_type in task_types.BUILT_IN or need.task_type in pool.task_types:
        return None
    if view.is_ai(need.worker_type or pool.worker_type):
        return None
    return f"it does not know the task type {need.task_type!r}"


def _cannot_delegate(need: Need) -> str | None:
    # What else the pool can run only the other instance knows.
    unknown = "Celery tasks" if need.celery else "batches" if need.task_type in READ_A_BATCH else None
    return unknown and f"it delegates to another instance, which has no {unknown} of this one"


def _cannot_reduce(pool: PoolRecord, task_type: str) -> str | None:
    if task_type in pool.task_types and not pool.config.runs_elsewhere:
        return None
    return f"it has not loaded the reducer {task_type.removeprefix(task_types.REDUCER_PREFIX)!r} (see imports)"


def _cannot_be_job(view: View, pool: PoolRecord, need: Need) -> str | None:
    worker_type = need.worker_type or pool.worker_type
    if need.celery or need.task_type in task_types.BUILT_IN.keys() - _COMMANDS:
        return (
            f"it makes Jobs of prompts, commands and containers only, and {need.task_type!r} needs a worker of ours "
            "(spawn it with mode: deployment, or use a pool of another type)"
        )
    if need.task_type in _COMMANDS or need.task_type in pool.task_types or view.is_ai(worker_type):
        return None
    return f"it does not know the task type {need.task_type!r}"


def _is_prompt(need: Need, pool: PoolRecord) -> bool:
    """Tell whether a task is a prompt, or becomes one because nobody registered its type."""
    known = need.task_type in task_types.BUILT_IN or need.task_type in pool.task_types
    return not need.celery and (need.task_type == "prompt" or not known)


def _cannot_prompt(pool: PoolRecord, need: Need, nodes: Sequence[NodeInfo]) -> str | None:
    if need.worker_type is not None:
        found = not nodes or any(need.worker_type in node.programs for node in nodes)
        return None if found or need.worker_type == pool.worker_type else _no_program(need.worker_type, nodes)
    # Before the first group has reported, nobody knows which program it will find.
    if pool.worker_type is None and any(group.status == "ready" for group in pool.groups):
        install = worker_types.no_ai_program().details()["install"]
        return f"it has no AI program to run a prompt (install one, for example with: {install})"
    return None


def _no_program(worker_type: str, nodes: Sequence[NodeInfo]) -> str:
    why = next((node.unusable[worker_type] for node in nodes if worker_type in node.unusable), None)
    return f"it cannot run {worker_type} now ({why})" if why else f"it has no program for {worker_type}"


def _runs_containers(nodes: Sequence[NodeInfo]) -> bool:
    """Tell whether some node can; before there is one, nobody knows."""
    return not nodes or any(worker_types.CONTAINER in node.programs for node in nodes)


def _no_engine(nodes: Sequence[NodeInfo]) -> str:
    silent = [f"{node.name}: {why}" for node in nodes if (why := node.unusable.get(worker_types.CONTAINER))]
    if silent:
        return f"no node of it can run containers now ({'; '.join(silent)})"
    install = worker_types.BUILT_IN[worker_types.CONTAINER].install
    return f"no node of it has docker or podman (install one, for example with: {install})"


def _not_asked_for(pool: PoolRecord, only: frozenset[str] | None) -> str | None:
    return None if only is None or pool.pool_id in only else "it was not named"


def _not_active(pool: PoolRecord) -> str | None:
    if pool.status in ACTIVE_STATUSES:
        return None
    return f"it is {pool.status}" + (f" ({pool.reason})" if pool.reason else "")

"""How a program runs tasks on workers of its own process: which programs there are, and what they run in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mahavishnu_pools import errors, task_types, worker_types
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.worker_types import WorkerType
from mahavishnu_pools.worktrees.records import Place

from .executors.interface import Cancellation, Limits, RunContext
from .task_types.registry import TaskTypeRegistry, load_registry

#: Stands for the pool of tasks that run on none.
NO_POOL = "local"


class _Silence:
    """A log for tasks whose output nobody follows; what counts of it is in the result."""

    def write(self, stream: str, data: bytes) -> None:
        """Take a piece of output and forget it."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """One attempt of one task on a worker of this process."""

    task_id: str
    worker_id: str
    worker_type: str
    attempt: int
    spec: TaskSpec
    cancellation: Cancellation


class TerminalManager:
    """What the workers of this process have in common: the settings, the worker types and the task types.

    Tasks run in the current directory, with the environment of this process as far as tasks get it.
    """

    def __init__(self, settings: Settings, *, mcp_client: Any = None) -> None:
        self.settings = settings
        self.mcp_client = mcp_client

    @classmethod
    def create(cls, config: Settings | None = None, mcp_client: Any = None) -> TerminalManager:
        """Return a manager for these settings (None: those of environment and file).

        ``mcp_client`` is kept for programs that pass one; programs are started directly.

        Raises:
            InvalidField: ``config`` is something else.
            InvalidConfig: a setting cannot be used.
        """
        if config is not None and not isinstance(config, Settings):
            raise errors.InvalidField.of(
                "config", f"is a {type(config).__name__}", "Give Settings, or None for those of environment and file."
            )
        return cls(config or load_settings(), mcp_client=mcp_client)

    @cached_property
    def worker_types(self) -> Mapping[str, WorkerType]:
        """The worker types by name.

        Raises:
            InvalidConfig: the user's file of worker types cannot be used.
        """
        return worker_types.load_worker_types(self.settings.worker_types_file)

    @cached_property
    def task_types(self) -> TaskTypeRegistry:
        """The task types.

        Raises:
            InvalidConfig: a module of the setting ``imports`` cannot be imported.
        """
        return load_registry(self.settings.imports)

    def worker_type(self, name: str | None) -> WorkerType:
        """Return a worker type whose program is there; None is the default of the settings, else the first installed.

        Raises:
            UnknownChoice: there is none of this name.
            MissingProgram: its program is not on PATH.
        """
        chosen = name or self.settings.default_worker_type or worker_types.default_worker_type(known=self.worker_types)
        if chosen is None:
            raise worker_types.no_ai_program(known=self.worker_types)
        found = worker_types.get_worker_type(chosen, known=self.worker_types)
        worker_types.require_program(found)
        return found

    def check(self, spec: TaskSpec, *, worker_type: WorkerType) -> None:
        """Refuse a task that a worker of this type could not run.

        Raises:
            UnknownChoice: there is no such task type or worker type.
            InvalidField: the payload does not fit; the message names the field.
        """
        named = worker_types.get_worker_type(spec.worker_type or worker_type.name, known=self.worker_types)
        known = {name: None for name in self.task_types.names() if name not in task_types.BUILT_IN}
        task_types.validate_payload(spec, known=known, ai=named.ai)

    def context(self, run: LocalRun) -> RunContext:
        """Return all that an executor needs for this attempt."""
        settings = self.settings
        return RunContext(
            task_id=run.task_id,
            pool_id=NO_POOL,
            worker_id=run.worker_id,
            attempt=run.attempt,
            spec=run.spec,
            worker_type=run.worker_type,
            env=dict(os.environ),
            default_cwd=Path.cwd(),
            allowed_roots=settings.allowed_roots,
            log=_Silence(),
            cancellation=run.cancellation,
            limits=Limits(kill_grace=settings.kill_grace, max_output_bytes=settings.max_output_bytes),
            python_callables=settings.python_callables,
            services={
                "secrets_file": settings.data_dir / "secrets.env",
                "worker_types": self.worker_types,
                "task_types": self.task_types,
                "worktrees": Place(settings.data_dir.absolute(), settings.worktree_author),
                "isolation": "none",  # several workers in one directory are what its programs asked for
            },
        )

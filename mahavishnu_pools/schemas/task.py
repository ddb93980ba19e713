"""Values about tasks: what is submitted, what comes back."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, JsonValue, StrictInt, field_validator, model_validator

from mahavishnu_pools import names
from mahavishnu_pools.schemas.approval import Approval
from mahavishnu_pools.schemas.base import MappingValue, Value
from mahavishnu_pools.schemas.dependency import NAME_PATTERN, PARENTS_MOST, Dependencies, OnParentFailure
from mahavishnu_pools.schemas.needs import Needs, as_texts, parse_needs
from mahavishnu_pools.schemas.routing import Routing
from mahavishnu_pools.schemas.worktree import Isolation

#: Seconds one attempt may run when nothing else is said.
DEFAULT_TIMEOUT = 300.0

#: The middle of the priorities 0 (last) to 9 (first).
DEFAULT_PRIORITY = 5


class TaskStatus(StrEnum):
    """Where a task is; those in TERMINAL_STATUSES are outcomes."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    DEAD = "dead"
    AWAITING_APPROVAL = "awaiting_approval"
    WAITING = "waiting"
    REFUSED = "refused"


TERMINAL_STATUSES = frozenset(
    {
        TaskStatus.COMPLETED,
        TaskStatus.FAILED,
        TaskStatus.TIMEOUT,
        TaskStatus.CANCELLED,
        TaskStatus.DEAD,
        TaskStatus.REFUSED,
    }
)


class TaskSpec(Value):
    """What a user submits: a prompt, or a task type with its payload.

    ``timeout`` (seconds) limits one attempt's run, ``expires`` (seconds) the wait in the queue (None: no limit).
    ``priority`` goes from 0 to 9, 9 first. ``max_retries=None`` keeps the default of the cause (3 for rate limits,
    overload and connection errors, 0 for anything else). ``env`` is added to the worker's environment; ``secrets``
    names values that the worker reads from its own secrets file. ``worker_type`` overrides the pool's.
    Tasks with the same ``session`` are turns of one conversation with an AI program, in the same pool and directory.
    ``approval="required"`` has it wait until somebody approves of it, ``approval_timeout`` seconds at most (None: seven
    days); it takes no worker meanwhile, and ``expires`` counts from then on. ``needs`` is what it asks of the node that
    runs it: ``("gpu=1", "memory=8GiB", "big")``, or ``{"gpu": 1, "memory": "8GiB", "big": True}``; without an amount a
    tag. ``after`` has it wait until other tasks have ended: their ids, or what tasks of the same batch are called
    (``name``) or their places there (from 0). ``on_parent_failure`` says what becomes of it when one of them does not
    complete: it is cancelled (``skip``), has failed (``fail``), or runs all the same (``run``). ``isolation`` says how
    it is kept from disturbing others in its directory (None: as its pool says, else ``lock`` for AI programs).
    """

    prompt: str | None = None
    task_type: str = "prompt"
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, le=7 * 86400, allow_inf_nan=False)
    expires: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    priority: int = Field(default=DEFAULT_PRIORITY, ge=0, le=9)
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)
    affinity: str | None = Field(default=None, min_length=1, max_length=200)
    max_retries: int | None = Field(default=None, ge=0, le=100)
    on_worker_lost: Literal["requeue", "fail"] = "requeue"
    worker_type: str | None = None
    session: str | None = Field(default=None, min_length=1, max_length=200)
    cwd: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    memory: bool = True
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    approval: Literal["required"] | None = None
    approval_timeout: float | None = Field(default=None, gt=0, le=366 * 86400, allow_inf_nan=False)
    isolation: Isolation | None = None
    needs: tuple[str, ...] = ()
    name: str | None = Field(default=None, pattern=f"^{NAME_PATTERN}$")
    after: tuple[str | StrictInt, ...] = Field(default=(), max_length=PARENTS_MOST)
    on_parent_failure: OnParentFailure = "skip"

    @field_validator("needs", mode="before")
    @classmethod
    def _needs_can_be_read(cls, value: object) -> list[str]:
        texts = as_texts(value)
        parse_needs(texts)
        return texts

    @field_validator("task_type")
    @classmethod
    def _task_type_is_named(cls, value: str) -> str:
        if not value or len(value) > 100:
            raise ValueError("must have 1 to 100 characters")
        return value

    @field_validator("name")
    @classmethod
    def _name_is_no_id(cls, value: str | None) -> str | None:
        if value is not None and value.startswith(names.TASK_ID_PREFIX):
            raise ValueError(f"must not begin with {names.TASK_ID_PREFIX}, as the ids of tasks do")
        return value

    @field_validator("after")
    @classmethod
    def _after_are_words(cls, value: tuple[str | int, ...]) -> tuple[str | int, ...]:
        for one in value:
            if isinstance(one, str) and (not one or len(one) > 200 or not one.isprintable() or " " in one):
                raise ValueError("must hold names or ids of tasks, without spaces")
        return value

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Self:
        if self.approval_timeout is not None and self.approval is None:
            raise ValueError("approval_timeout goes with approval alone")
        if self.session is not None and self.task_type != "prompt":
            raise ValueError("a session goes with a prompt alone")
        if self.task_type == "prompt" and self.prompt is None and "prompt" not in self.payload:
            raise ValueError("a task needs a prompt, or a task_type with its payload")
        if self.task_type != "prompt" and self.prompt is not None:
            raise ValueError("give either prompt or task_type with payload, not both")
        if self.task_type == "prompt":
            given = self.payload.get("prompt")
            if self.prompt is not None and given is not None:
                raise ValueError("give the prompt once, as prompt or in the payload")
            if given is not None and not isinstance(given, str):
                raise ValueError("payload: prompt must be text")
        return self

    @property
    def asks_for(self) -> Needs:
        """Return what it needs of its node."""
        return parse_needs(self.needs)

    @property
    def text(self) -> str | None:
        """Return the prompt wherever it was given, or None for other task types."""
        if self.task_type != "prompt":
            return None
        return self.prompt if self.prompt is not None else str(self.payload["prompt"])


class Got(MappingValue):
    """What a node has given to a task: amounts, and the numbers of devices."""

    node: str
    resources: dict[str, float]
    devices: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class TaskResult(MappingValue):
    """What is known of a task; with a terminal ``status`` this is its one outcome.

    ``output`` is text (an AI's final answer, a command's standard output), ``value`` the same as JSON where the task
    type has a JSON result. ``duration`` is the run time of the last attempt in seconds. ``retry_at`` is set while the
    status is ``retrying``. ``approval`` tells of a task that needs one what was decided, ``routing`` how its pool was
    chosen when that was asked for. ``got`` is what its node has given it of what it ``needs``, ``waits_for`` says
    what it waits for while no node can give it. ``dependencies`` tells what it comes after. Times are aware UTC.
    """

    task_id: str
    pool_id: str | None = None
    worker_id: str | None = None
    task_type: str | None = None
    status: TaskStatus
    output: str | None = None
    value: JsonValue = None
    error: str | None = None
    exit_code: int | None = None
    duration: float | None = None
    attempts: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    batch_id: str | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    approval: Approval | None = None
    routing: Routing | None = None
    needs: tuple[str, ...] = ()
    got: Got | None = None
    waits_for: str | None = None
    name: str | None = None
    dependencies: Dependencies | None = None

    @property
    def done(self) -> bool:
        """Tell whether the status is an outcome."""
        return self.status in TERMINAL_STATUSES

    @property
    def ok(self) -> bool:
        """Tell whether the task completed."""
        return self.status is TaskStatus.COMPLETED


class Outcome(Value):
    """How one attempt ended, as an executor reports it; the store makes the task's outcome of it.

    ``error`` is one sentence for people. ``retryable`` names the cause when another attempt may succeed
    (``rate_limit``, ``overload``, ``connection``); None means it will not. ``final``: whoever ran it has made the
    retries that the task asks for; it is never stored.
    """

    status: Literal["completed", "failed", "timeout", "cancelled"]
    output: str = ""
    value: JsonValue = None
    error: str | None = None
    exit_code: int | None = None
    retryable: Literal["rate_limit", "overload", "connection"] | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    final: bool = Field(default=False, exclude=True)


class DistributionResult(MappingValue):
    """What ``distribute`` returns: one result per item in input order, the counts and the reduced value."""

    batch_id: str
    strategy: str
    total: int
    successful: int
    failed: int
    items: tuple[TaskResult, ...]
    reduced: JsonValue = None

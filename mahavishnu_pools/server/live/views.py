"""What the page is told, as JSON. Times are seconds since the epoch (UTC) unless they are texts."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from mahavishnu_pools.schemas.approval import Approval
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.contest import ContestKind
from mahavishnu_pools.schemas.dependency import OnParentFailure, Parent, Relatives
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import Got, TaskStatus
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.schemas.worktree import FileChange


class PoolRow(Value):
    """A pool in the list.

    ``ready`` are the workers that are there, of those wanted (``workers``); ``running`` of them are busy.
    ``waiting_since`` is when the task was submitted that waits longest (None: none waits, or that is not known).
    ``per_minute`` are outcomes, ``errors_per_minute`` those of them without success, over the last minute in which
    somebody looked (None: nobody looked long enough).
    """

    pool_id: str
    name: str
    pool_type: str
    status: PoolStatus
    reason: str | None
    worker_type: str | None
    region: str
    tags: tuple[str, ...]
    workers: int
    min_workers: int
    max_workers: int
    ready: int
    running: int
    queued: int
    waiting_since: float | None
    per_minute: float | None
    errors_per_minute: float | None
    completed: int
    failed: int
    avg_duration: float | None
    memory_mb: float | None
    cpu_percent: float | None
    scaled_because: str | None
    created_at: float


class GroupRow(Value):
    """The workers of a pool on a node."""

    group: str
    pool: str
    node: str
    status: str
    reason: str | None
    workers: int
    worker_type: str | None
    memory_mb: float | None
    cpu_percent: float | None
    restarts: int


class NodeRow(Value):
    """A machine, or Pod, with an agent; ``only_pool`` is the one it works for (None: any)."""

    name: str
    alive: bool
    region: str
    tags: tuple[str, ...]
    only_pool: str | None
    started: float


class CoolDown(Value):
    """A worker type whose provider wants to be left alone until ``ends``."""

    worker_type: str
    ends: float


class AwaitingRow(TaskBrief):
    """A task that awaits approval; it is cancelled at ``ends`` unless somebody has decided."""

    ends: float


class Overview(Value):
    """Everything the first page shows: of the tasks that run, some of each pool.

    ``actions`` tells whether this server lets the page change something. Of the tasks that await approval, which are
    ``awaiting_total``, it has those that expire first.
    """

    at: float
    version: str
    actions: bool
    dead_letters: int
    cooling: tuple[CoolDown, ...]
    pools: tuple[PoolRow, ...]
    groups: tuple[GroupRow, ...]
    nodes: tuple[NodeRow, ...]
    running: tuple[TaskBrief, ...]
    awaiting: tuple[AwaitingRow, ...]
    awaiting_total: int
    events: tuple[Event, ...]


class PoolView(Value):
    """One pool: what runs, what waits (the beginning), and what ended last."""

    at: float
    version: str
    actions: bool
    pool: PoolRow
    groups: tuple[GroupRow, ...]
    running: tuple[TaskBrief, ...]
    waiting: tuple[TaskBrief, ...]
    ended: tuple[TaskBrief, ...]


class After(Value):
    """What a task comes after: ``total`` tasks, of which ``parents`` are some, those first that have not ended.

    ``waits`` counts those; ``ended_by`` is the one because of which it was not run, ``held_up`` says why no pool takes
    it although it waits for no task any more.
    """

    total: int
    waits: int
    parents: tuple[Parent, ...]
    on_parent_failure: OnParentFailure
    ended_by: str | None
    held_up: str | None


class Part(Value):
    """A task's part in a contest, and how that stands; ``winners`` are ids of tasks."""

    kind: ContestKind
    role: Literal["candidate", "judge"]
    status: Literal["open", "won", "failed"]
    winners: tuple[str, ...]
    judge_id: str | None
    reason: str | None


class Remote(Value):
    """Where a task ran that was delegated: the instance, and its ids there."""

    url: str | None = None
    instance: str | None = None
    task_id: str | None = None
    pool_id: str | None = None


class Changed(Value):
    """What a task changed in its worktree: of the ``files`` some are listed. ``branch`` is None when it was nothing."""

    branch: str | None
    files: int
    insertions: int
    deletions: int
    changed: tuple[FileChange, ...]
    note: str | None


class TaskView(Value):
    """One task. ``asked`` is its prompt, or its payload as JSON; ``result`` its output, or its value as JSON.

    Both are cut when they are long (``asked_cut``, ``result_cut``). ``pool`` is the name, None when it is gone.
    ``agent`` is what an AI program did: ``model``, ``turns``, ``tokens``, ``cost_usd``, ``tools``, ``files``, and
    ``session`` (whether it went on with a conversation). ``got`` is what its node has given it of what it ``needs``,
    ``waits_for`` says what it waits for while none can. ``relatives`` are the tasks around it in its graph, with what
    they are now.
    """

    at: float
    version: str
    actions: bool
    task_id: str
    status: TaskStatus
    done: bool
    pool_id: str | None
    pool: str | None
    task_type: str | None
    worker_id: str | None
    attempts: int
    created_at: float | None
    started_at: float | None
    finished_at: float | None
    retry_at: float | None
    duration: float | None
    exit_code: int | None
    error: str | None
    batch_id: str | None
    name: str | None
    approval: Approval | None
    after: After | None
    relatives: Relatives | None
    changes: Changed | None
    contest: Part | None
    needs: tuple[str, ...]
    got: Got | None
    waits_for: str | None
    remote: Remote | None
    options: dict[str, JsonValue]
    agent: dict[str, JsonValue]
    asked: str | None
    asked_cut: bool
    result: str | None
    result_cut: bool


class LogLine(Value):
    """A piece of a task's output; ``after_cut`` tells that something before it was left out."""

    stream: str
    text: str
    after_cut: bool

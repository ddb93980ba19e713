"""A task as its page shows it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue, ValidationError

from mahavishnu_pools.schemas.dependency import Dependencies, Relatives
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.schemas.worktree import Changes
from mahavishnu_pools.server.live.views import After, Changed, Part, Remote, TaskView

#: Characters shown of what was asked, and of what came out.
ASKED, RESULT = 20_000, 100_000

#: What is told of a specification beside what was asked, when it was given.
_OPTIONS = (
    *("worker_type", "priority", "timeout", "expires", "max_retries", "affinity", "session", "cwd"),
    "idempotency_key",
)

#: What is told of an AI program's run.
_AGENT = ("model", "turns", "tokens", "cost_usd", "tools", "files", "session")


#: Tasks that one comes after which are shown.
PARENTS = 50

#: Files shown of those that a task changed.
FILES = 20


@dataclass(frozen=True, slots=True)
class Around:
    """What was read of others: the name of the task's pool (None: it is gone), its contest, the tasks around it."""

    pool: str | None = None
    contest: Part | None = None
    relatives: Relatives | None = None


def view(found: TaskResult, spec: str | None, *, around: Around, about: Mapping[str, Any]) -> TaskView:
    """Return a task's page; ``spec`` is its specification as JSON, ``about`` what all views say."""
    asked, options = _asked(spec)
    result = found.output if found.output else _written(found.value)
    return TaskView(
        **about,
        task_id=found.task_id,
        status=found.status,
        done=found.done,
        pool_id=found.pool_id,
        pool=around.pool,
        task_type=found.task_type,
        worker_id=found.worker_id,
        attempts=found.attempts,
        created_at=_seconds(found.created_at),
        started_at=_seconds(found.started_at),
        finished_at=_seconds(found.finished_at),
        retry_at=_seconds(found.retry_at),
        duration=found.duration,
        exit_code=found.exit_code,
        error=found.error,
        batch_id=found.batch_id,
        name=found.name,
        approval=found.approval,
        after=None if found.dependencies is None else _after(found.dependencies),
        relatives=around.relatives,
        changes=_changes(found.metadata.get("worktree")),
        contest=around.contest,
        needs=found.needs,
        got=found.got,
        waits_for=found.waits_for,
        remote=_remote(found.metadata.get("remote")),
        options=options,
        agent={name: found.metadata[name] for name in _AGENT if name in found.metadata},
        asked=None if asked is None else asked[:ASKED],
        asked_cut=asked is not None and len(asked) > ASKED,
        result=None if result is None else result[:RESULT],
        result_cut=result is not None and len(result) > RESULT,
    )


def _after(found: Dependencies) -> After:
    parents = sorted(found.parents, key=lambda one: one.status is not None)
    about = found.model_dump(exclude={"parents"})
    return After(total=len(parents), parents=tuple(parents[:PARENTS]), **about)


def _changes(told: JsonValue) -> Changed | None:
    """Return what a task changed; what it ran on may be another instance, and say anything."""
    try:
        found = Changes.model_validate(told, extra="ignore")
    except ValidationError:
        return None
    return Changed(
        branch=found.branch,
        files=found.files,
        insertions=found.insertions,
        deletions=found.deletions,
        changed=found.changed[:FILES],
        note=found.note,
    )


def _remote(told: JsonValue) -> Remote | None:
    """Return where a task ran that was delegated; a program may have put anything there."""
    if not isinstance(told, dict):
        return None
    return Remote(**{name: text for name in Remote.model_fields if isinstance(text := told.get(name), str)})


def _asked(spec: str | None) -> tuple[str | None, dict[str, JsonValue]]:
    """Return what was asked, and the options; a user's Celery task has neither."""
    if not spec:
        return None, {}
    given = json.loads(spec)
    if not isinstance(given, dict):
        return None, {}
    asked = given.get("prompt") or _written(given.get("payload"))
    return asked, {name: given[name] for name in _OPTIONS if given.get(name) is not None}


def _written(value: JsonValue) -> str | None:
    if value is None or value == {}:
        return None
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()

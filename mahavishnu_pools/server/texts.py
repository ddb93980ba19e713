"""What people read in the answers of the tools. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mahavishnu_pools.schemas.pool import PoolInfo
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.schemas.task_brief import TaskBrief

#: Characters of a task's output that a text shows; the JSON has all of it.
SHOWN = 20_000

#: Characters of an item of a list.
SHORT = 200

#: Lines of a list.
MOST = 100

_COMMAND = re.compile(
    r"(?P<begins>^|[.:] )?"
    r"'mahavishnu pools (?P<verb>list|spawn|resume|rebalance|tasks|health|drain|pause|close)\b[^']*'"
)

#: How options of the command line are called here.
_OPTIONS = {
    "--move [--to POOL]": "tasks=move [and to=POOL]",
    "--drain": "tasks=drain",
    "--cancel": "tasks=cancel",
}


def reworded(message: str) -> str:
    """Return an error's message with tools where it names commands and options of the command line."""
    for option, name in _OPTIONS.items():
        message = message.replace(option, name)
    return _COMMAND.sub(_tool, message)


def _tool(found: re.Match[str]) -> str:
    begins = found["begins"]
    return f"the tool pool_{found['verb']}" if begins is None else f"{begins}The tool pool_{found['verb']}"


def pool(info: PoolInfo) -> str:
    """Return a pool in a line."""
    why = f" ({info.reason})" if info.reason else ""
    return (
        f"{info.name} ({info.pool_id}, {info.pool_type}): {info.status.value}{why}, {info.workers} workers "
        f"({info.min_workers} to {info.max_workers}), {info.queued} queued, {info.running} running, "
        f"{info.tasks_completed} completed, {info.tasks_failed} failed"
    )


def listed(head: str, lines: Iterable[str]) -> str:
    """Return a head and a list below it, which is cut when it is long."""
    given = list(lines)
    shown = [f"  - {line}" for line in given[:MOST]]
    more = [f"  … and {len(given) - MOST} more; the JSON has all."] if len(given) > MOST else []
    return "\n".join([head, *shown, *more])


def task(result: TaskResult) -> str:
    """Return how a task is, and what it said."""
    # Failures begin with no ❌: clients take that for a call that went wrong, but the call did what it should.
    where = f" on pool {result.pool_id}" if result.pool_id else ""
    if not result.done:
        return (
            f"Task {result.task_id} is {result.status.value}{where} and goes on. "
            f"Ask for it with pool_task (task_id={result.task_id}), end it with pool_cancel."
        )
    said = output(result)
    if result.ok:
        return f"Task {result.task_id} completed{where}" + (f":\n{said}" if said else "")
    ended = f"Task {result.task_id} ended with status {result.status.value}{where}: {result.error or 'see its output'}"
    return f"{ended}\n{said}" if said else ended


def output(result: TaskResult) -> str:
    """Return what a task said, as text and not too long."""
    text = result.output if result.output else "" if result.value is None else str(result.value)
    text = text.rstrip("\n")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\n… {len(text) - SHOWN} more characters; the JSON has all."


def item(result: TaskResult) -> str:
    """Return a task in a line."""
    said = " ".join((result.error or output(result)).split())
    return f"{result.task_id}: {result.status.value}" + (f": {said[:SHORT]}" if said else "")


def brief(one: TaskBrief) -> str:
    """Return what a list shows of a task."""
    return f"{one.task_id} ({one.status.value}, pool {one.pool_id}): {(one.summary or one.task_type or '')[:SHORT]}"


def health(found: Mapping[str, Any]) -> str:
    """Return the health of pools."""
    head = f"{found['status']}: {found['pools_active']} pools are active, {found['agents']} machines run workers"
    return listed(head, (_health_of(one) for one in found["pools"]))


def _health_of(one: Mapping[str, Any]) -> str:
    why = f" ({one['reason']})" if one.get("reason") else ""
    return f"{one['name']} ({one['pool_id']}): {one['status']}{why}, {one['workers']} workers"


def batch(batch_id: str, items: Sequence[TaskResult]) -> str:
    """Return the outcomes of a batch."""
    good = sum(one.ok for one in items)
    return listed(f"Batch {batch_id}: {good} of {len(items)} completed", (item(one) for one in items))


def batch_goes_on(batch_id: str, ended: int, total: int) -> str:
    """Return how far a batch is."""
    return f"Batch {batch_id}: {ended} of {total} tasks have ended. Ask for it with pool_task (batch_id={batch_id})."

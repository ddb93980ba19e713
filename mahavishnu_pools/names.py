"""Names that cross process borders: Celery tasks, queues, nodes, ids. Written here once."""

from __future__ import annotations

import os
import re
import secrets
import socket

#: The Celery task that runs every task submitted through this project.
RUN_TASK = "mahavishnu.run_task"

#: Names of the Celery tasks that beat sends begin with this; the store's scripts keep them out of statistics.
PERIODIC_PREFIX = "mahavishnu.periodic."

#: Every pool's queue begins with this; the rest is the pool's id.
QUEUE_PREFIX = "pool."

#: A pool's id begins with this, so that a name can never be taken for an id.
POOL_ID_PREFIX = "pool_"

#: A task's id begins with this when it was submitted through this project (Celery's own ids are UUIDs).
TASK_ID_PREFIX = "task_"

#: A batch's id begins with this when this project chose it.
BATCH_ID_PREFIX = "batch_"

#: What a user may call a pool.
POOL_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

_POOL_NAME = re.compile(POOL_NAME_PATTERN)

#: Celery on Redis has 0 as the highest priority, ours has 9; ten buckets instead of Celery's four.
PRIORITY_STEPS = tuple(range(10))

#: Separator between a queue's name and its priority bucket, as kombu writes it.
PRIORITY_SEPARATOR = "\x06\x16"


def new_pool_id() -> str:
    """Return a fresh pool id: ``pool_`` and 12 hexadecimal digits."""
    return POOL_ID_PREFIX + secrets.token_hex(6)


def new_task_id() -> str:
    """Return a fresh task id: ``task_`` and 16 hexadecimal digits."""
    return TASK_ID_PREFIX + secrets.token_hex(8)


def new_batch_id() -> str:
    """Return a fresh batch id: ``batch_`` and 12 hexadecimal digits."""
    return BATCH_ID_PREFIX + secrets.token_hex(6)


def is_pool_id(value: str) -> bool:
    """Tell whether the text is written like a pool id."""
    return value.startswith(POOL_ID_PREFIX)


def is_pool_name(value: str) -> bool:
    """Tell whether the text may be a pool's name."""
    return bool(_POOL_NAME.fullmatch(value)) and not is_pool_id(value)


def queue_of(pool_id: str) -> str:
    """Return the Celery queue of a pool, without the namespace."""
    return QUEUE_PREFIX + pool_id


def pool_of(queue: str) -> str | None:
    """Return the pool id of a queue, or None when the queue is no pool's."""
    return queue[len(QUEUE_PREFIX) :] if queue.startswith(QUEUE_PREFIX) else None


def worker_node(pool_id: str, node: str, *, alone: bool = False) -> str:
    """Return the Celery node name of a pool's worker group on one machine; ``alone``: of the one for its suspects."""
    return f"{pool_id}.alone@{node}" if alone else f"{pool_id}@{node}"


def default_node_name() -> str:
    """Return this machine's host name, shortened to what a node may be called."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:50].lstrip("._-")
    return cleaned or f"node-{os.getpid()}"


def celery_priority(priority: int) -> int:
    """Return the Celery (kombu on Redis) priority of one of ours: 9, the highest here, is 0 there."""
    return 9 - priority


def own_priority(celery: int) -> int:
    """Return our priority (9 highest) of a Celery one (0 highest); values outside 0–9 are clipped."""
    return 9 - min(9, max(0, celery))

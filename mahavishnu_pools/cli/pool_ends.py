"""Documents about pools that were drained or closed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mahavishnu_pools.cli.formats.interface import Block, Document, Note
from mahavishnu_pools.cli.pool_documents import pool_data, pool_details
from mahavishnu_pools.cli.rebalance import move_table
from mahavishnu_pools.schemas.moving import ClosedPool

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.moving import DrainedPool
    from mahavishnu_pools.schemas.pool import PoolInfo


def drained(pool: DrainedPool, *, waited: bool) -> Document:
    """Return the document of ``pools drain``; ``waited`` is True when running tasks were waited for."""
    head = [Note(f"Pool {pool.name} {'is drained' if waited else 'is being drained'}", good=True)]
    if waited:
        head.append(Note(f"{pool.ended} running {_tasks(pool.ended)} ended, {pool.handed_back} handed back"))
    if pool.running:
        head.append(Note(f"{pool.running} {_tasks(pool.running)} still running" + (_STUCK if waited else "")))
    if pool.queued:
        head.append(Note(f"{pool.queued} {_tasks(pool.queued)} waiting: resume it, rebalance, or close it with --move"))
    return Document(pool_data(pool), (*head, *pool_details(pool).blocks))


def closed(pools: Sequence[ClosedPool]) -> Document:
    """Return the document of ``pools close``."""
    moves = [move for pool in pools for move in pool.moves]
    data = {
        "closed": [pool.pool_id for pool in pools],
        "cancelled": sum(pool.cancelled for pool in pools),
        "moved": sum(move.tasks for move in moves),
        "moves": [move.model_dump(mode="json") for move in moves],
    }
    if not pools:
        return Document(data, (Note("No pool to close."),))
    lines: list[Block] = []
    for pool in pools:
        lines.append(Note(f"Closed pool: {pool.pool_id}", good=True))
        if pool.cancelled:
            lines.append(Note(f"{pool.cancelled} {_tasks(pool.cancelled)} of {pool.name} cancelled"))
    return Document(data, (*lines, *move_table(moves)))


def all_closed(pools: Sequence[PoolInfo]) -> Document:
    """Return the document of ``pools close-all``; the pools are as they were before."""
    return closed([ClosedPool(pool_id=one.pool_id, name=one.name, cancelled=one.queued) for one in pools])


#: Why a task may still run after the time of a drain.
_STUCK = ", which cannot be ended from outside: a Celery task or a Python function"


def _tasks(count: int) -> str:
    return "task" if count == 1 else "tasks"

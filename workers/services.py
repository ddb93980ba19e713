"""Named objects that task handlers may ask for: how a reducer reads its batch, where secrets are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import TaskResult, TaskStatus
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.approvals import read_gate
from mahavishnu_pools.store.batches import read_batch
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pools import change_pool, read_pools
from mahavishnu_pools.store.tasks import read_tasks
from mahavishnu_pools.task_types import BUILT_IN
from mahavishnu_pools.worktrees.records import Place

from .parents import parent_reader
from .task_types.registry import TaskTypeRegistry, load_registry

#: Results read in one call.
READ_CHUNK = 200


def services(settings: Settings, store: SyncStore, *, imports: tuple[str, ...]) -> dict[str, Any]:
    """Return the services of a worker group; ``imports`` are the user's modules with task types."""
    return {
        "task_types": load_registry(imports),
        "batch_reader": batch_reader(store),
        "secrets_file": settings.data_dir / "secrets.env",
        "namespace": settings.namespace,
        "worktrees": Place(settings.data_dir.absolute(), settings.worktree_author),
        "approved": lambda task_id: store.run(read_gate(task_id)).decision == "approved",
        "parents": parent_reader(store),
        **_worker_types(settings),
    }


def publish_tasks(store: SyncStore, pool_id: str, registry: TaskTypeRegistry, celery_tasks: Iterable[str]) -> None:
    """Tell the pool's record which task types (beside the built-in ones) and Celery tasks its workers have loaded.

    Submitting and routing choose by it.
    """
    own = registry.schemas(without=BUILT_IN)
    loaded = frozenset(celery_tasks)
    record = store.run(read_pools(pool_id)).one(pool_id)
    if own != record.task_types or loaded != record.celery_tasks:
        types, tasks = json.dumps(own) if own else "", json.dumps(sorted(loaded))
        store.run(change_pool(pool_id, task_types=types, celery_tasks=tasks))


def batch_reader(store: SyncStore) -> Callable[[str], list[TaskResult]]:
    """Return a function that reads the results of a batch in input order."""

    def read(batch_id: str) -> list[TaskResult]:
        batch = store.run(read_batch(batch_id))
        if batch is None:
            raise errors.NotFound(f"No batch has the id {batch_id!r}, or its results have expired.", batch_id=batch_id)
        found: list[TaskResult] = []
        for at in range(0, len(batch.task_ids), READ_CHUNK):
            ids = batch.task_ids[at : at + READ_CHUNK]
            results = store.run(read_tasks(ids))
            found.extend(result or _expired(one) for one, result in zip(ids, results, strict=True))
        return found

    return read


def _expired(task_id: str) -> TaskResult:
    error = "Its result expired before the last task of its batch had ended (see result_expires)."
    return TaskResult(task_id=task_id, status=TaskStatus.FAILED, error=error)


def _worker_types(settings: Settings) -> dict[str, Any]:
    from mahavishnu_pools.worker_types import load_worker_types

    return {"worker_types": load_worker_types(settings.worker_types_file)}

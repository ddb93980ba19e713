"""Celery's remote control from the client's side: revoking a pool's task is stored, whoever is online."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery.app.control import Control

from mahavishnu_pools import errors
from mahavishnu_pools.broker.amqp import STORE_FACTORY
from mahavishnu_pools.store.tasks import cancel

if TYPE_CHECKING:
    from mahavishnu_pools.store.client import SyncStore

logger = logging.getLogger(__name__)

#: Name of the app's attribute that says how many seconds outcomes are kept.
RESULT_TTL = "_mahavishnu_result_ttl"

#: Why a task that was revoked has ended.
REVOKED = "It was revoked."


def revoke_in_store(store: SyncStore, task_ids: Sequence[str], *, result_ttl: float) -> list[str]:
    """Ask the store for the end of tasks and return the ids it does not know: they are no pool's."""
    unknown = []
    for task_id in task_ids:
        try:
            store.run(cancel(task_id, reason=REVOKED, result_ttl=result_ttl))
        except errors.TaskNotFound:
            unknown.append(task_id)
    return unknown


class PoolControl(Control):
    """Celery's control with pools: their tasks are revoked in the store, others by telling workers, as ever."""

    def revoke(self, task_id: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """Revoke tasks. A pool's task that waits never runs; one that runs is ended with its processes."""
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        try:
            unknown = revoke_in_store(getattr(self.app, STORE_FACTORY)(), ids, result_ttl=getattr(self.app, RESULT_TTL))
        except errors.Unavailable as exc:
            # The pools' Redis is away: what is in the app's own queues is revoked all the same.
            logger.warning("Tasks of pools were not revoked: %s", exc.message)
            unknown = ids
        return super().revoke(unknown, *args, **kwargs) if unknown else None

"""Celery's remote-control commands where ours must differ: ``revoke`` is stored and reaches tasks wherever they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery.worker import control

logger = logging.getLogger(__name__)

#: Asks for the end of tasks; returns the ids that are no pool's.
Revoke = Callable[[Sequence[str]], list[str]]

#: Celery's own command, for tasks of the user's other queues.
_STOCK = control.Panel.data["revoke"]


def install_revoke(revoke_in_store: Revoke) -> None:
    """Replace Celery's ``revoke`` in this worker process. Celery keeps its commands in one table a process.

    Celery's own records REVOKED before anything has ended and forgets it with the process. Ours asks the store: a
    waiting task never runs, a running one is ended by the group that has it, and finish alone writes the outcome.
    """

    def revoke(
        state: Any, task_id: str | Sequence[str], terminate: bool = False, signal: Any = None, **kwargs: Any
    ) -> Any:
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        unknown = revoke_in_store(ids)
        logger.info("Revoked: %s (of other queues: %s)", ", ".join(ids), ", ".join(unknown) or "none")
        if unknown:
            _STOCK(state, unknown, terminate=terminate, signal=signal, **kwargs)
        return {"ok": f"tasks {', '.join(ids)} flagged as revoked"}

    control.Panel.data["revoke"] = revoke

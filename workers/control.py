"""Celery's remote-control commands where ours must differ: ``revoke`` is stored and reaches tasks wherever they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery.worker import control

logger = logging.getLogger(__name__)

#: Set in a worker process by ``install_revoke``: asks for the end of one task, returns what became of it.
Cancel = Callable[[str], str]


def install_revoke(cancel: Cancel) -> None:
    """Replace Celery's ``revoke`` in this worker process. Celery keeps its commands in one table a process.

    Celery's own records REVOKED before anything has ended and forgets it with the process. Ours asks the store: a
    waiting task never runs, a running one is ended by the group that has it, and the outcome is written by finish
    alone.
    """

    def revoke(state: Any, task_id: str | Sequence[str], terminate: bool = False, signal: Any = None, **_: Any) -> Any:
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        verdicts = {one: cancel(one) for one in ids}
        logger.info("Revoked: %s", ", ".join(f"{one} ({verdict})" for one, verdict in verdicts.items()))
        return {"ok": f"tasks {', '.join(ids)} flagged as revoked"}

    control.Panel.data["revoke"] = revoke

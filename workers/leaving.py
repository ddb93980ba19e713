"""Tasks that raise what ends a program (``sys.exit``, Ctrl-C, a cancelled coroutine): a failure, and no thread's end.

Celery's tracer lets such exceptions through: a prefork worker dies of them and its parent records the task as failed.
Here there is no other process to notice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery import signals

logger = logging.getLogger(__name__)


def record_leaving(task_id: str, left: BaseException, tell: Callable[[ExceptionInfo], Any]) -> BaseException | None:
    """Have Celery record what ended a task, with errbacks and chord; ``tell`` is its request's error callback.

    Returns:
        The recorded failure; None when there is none, because the task is to run again when its worker is lost, or
        because Celery could not record it.
    """
    recorded: list[BaseException] = []

    def failed(task_id: str | None = None, exception: BaseException | None = None, **_: Any) -> None:
        if task_id == own and exception is not None:
            recorded.append(exception)

    own = task_id
    signals.task_failure.connect(failed, weak=False)
    try:
        tell(_lost(left))
    except Exception:  # the border of Celery's bookkeeping: its backend may be away, and the claim's end must follow
        logger.exception("Celery could not record that task %s raised %r", task_id, left)
    finally:
        signals.task_failure.disconnect(failed)
    return recorded[0] if recorded else None


def _lost(left: BaseException) -> ExceptionInfo:
    # As Celery itself says it in its pools of threads, with the traceback of the task.
    try:
        raise WorkerLostError(repr(left)).with_traceback(left.__traceback__)
    except WorkerLostError:
        return ExceptionInfo()

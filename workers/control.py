"""Celery's remote-control commands where ours must differ: what they change is stored and holds for the whole pool."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from celery.utils.time import rate as starts_per_second
from celery.worker import control

from mahavishnu_pools import names

logger = logging.getLogger(__name__)

#: What has replacements here, as Celery made it: for what is no pool's.
_NAMES = ("revoke", "rate_limit", "time_limit", "add_consumer", "cancel_consumer")
_STOCK = {name: control.Panel.data[name] for name in _NAMES}

_NO_TIME_LIMIT = "Each task of a pool brings its own timeout; it cannot be changed for all of them."
_NO_RESTART = "A worker group is replaced as a whole, and no task is lost: 'mahavishnu pools restart' does it."
_NO_AUTOSCALE = "The agent scales pools up to max_workers, which 'mahavishnu pools scale --max' raises."
_NO_CONSUMER = "Nobody consumes a pool's queue through Celery: 'mahavishnu pools pause' and 'resume' stop and start it."


@dataclass(frozen=True, slots=True)
class Commands:
    """What commands do to a worker's pools.

    ``revoke`` asks for the end of tasks and returns the ids that are no pool's. ``limit_rate`` has the pools start so
    many tasks (``30/m``; None: as many as they can).
    """

    revoke: Callable[[Sequence[str]], list[str]]
    limit_rate: Callable[[str | None], None]


def install_commands(commands: Commands) -> None:
    """Replace commands of Celery in this worker process. Celery keeps them in one table a process.

    Celery's own ``revoke`` records REVOKED before anything has ended and forgets it with the process; its limits are
    those of one worker, and know only tasks that it got from Celery; the queues of pools are not its own. Ours ask the
    store, or say why not.
    """

    def revoke(
        state: Any, task_id: str | Sequence[str], terminate: bool = False, signal: Any = None, **kwargs: Any
    ) -> Any:
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        unknown = commands.revoke(ids)
        logger.info("Revoked: %s (of other queues: %s)", ", ".join(ids), ", ".join(unknown) or "none")
        if unknown:
            _STOCK["revoke"](state, unknown, terminate=terminate, signal=signal, **kwargs)
        return {"ok": f"tasks {', '.join(ids)} flagged as revoked"}

    def rate_limit(state: Any, task_name: str, rate_limit: Any, **kwargs: Any) -> Any:
        if task_name != names.RUN_TASK:
            return _STOCK["rate_limit"](state, task_name, rate_limit, **kwargs)
        try:
            wanted = our_rate(rate_limit)
        except ValueError as exc:
            return {"error": f"{rate_limit!r} is no rate ({exc}): write 2/s, 30/m or 100/h, or 0 for none"}
        commands.limit_rate(wanted)
        return {"ok": f"the pool starts {f'at most {wanted} tasks' if wanted else 'as many tasks as it can'}"}

    control.Panel.data.update(revoke=revoke, rate_limit=rate_limit, **_REFUSING)


def _time_limit(state: Any, task_name: str | None = None, **kwargs: Any) -> Any:
    if task_name == names.RUN_TASK:
        return {"error": _NO_TIME_LIMIT}
    return _STOCK["time_limit"](state, task_name=task_name, **kwargs)


def _unless_a_pools(command: str) -> Callable[..., Any]:
    def consumer(state: Any, queue: str, *args: Any, **kwargs: Any) -> Any:
        return {"error": _NO_CONSUMER} if names.pool_of(queue) else _STOCK[command](state, queue, *args, **kwargs)

    return consumer


def _refused(reason: str) -> Callable[..., Any]:
    return lambda state, **kwargs: {"error": reason}


_REFUSING = {
    "pool_restart": _refused(_NO_RESTART),
    "autoscale": _refused(_NO_AUTOSCALE),
    "time_limit": _time_limit,
    "add_consumer": _unless_a_pools("add_consumer"),
    "cancel_consumer": _unless_a_pools("cancel_consumer"),
}


def our_rate(given: Any) -> str | None:
    """Return a rate as pools have it, of one as Celery takes it: ``10``, ``"10/m"``, 0 or nothing for none.

    Raises:
        ValueError: it is no rate.
    """
    number = starts_per_second(given)
    if not math.isfinite(number) or number < 0:
        raise ValueError("it is no number")
    if not number:
        return None
    return given if isinstance(given, str) and "/" in given else f"{float(given):g}/s"

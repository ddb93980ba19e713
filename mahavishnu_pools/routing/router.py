"""The Celery router: plain Celery calls choose a pool by ``pool``, ``pool_selector`` or ``pool_affinity``.

``task_routes = (PoolRouter(...),)``. Celery calls it for every message; what asks for no pool is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import names, tracing
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import Need, PoolFilter
from mahavishnu_pools.store.steps import run_steps_sync
from mahavishnu_pools.store.tasks import route

if TYPE_CHECKING:
    from mahavishnu_pools.store.client import SyncStore

#: Options of ``apply_async`` that are ours.
OPTIONS = ("pool", "pool_selector", "pool_affinity", "pool_filter")


class PoolRouter:
    """Routes a Celery call to a pool's queue. ``store`` makes or returns the store at first use, after any fork."""

    def __init__(self, store: Callable[[], SyncStore], chooser: Chooser) -> None:
        self._store = store
        self._chooser = chooser

    def __call__(
        self,
        name: str,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: MutableMapping[str, Any],
        task: object = None,
        **_: Any,
    ) -> dict[str, str] | None:
        """Return the queue for a call, or None when it asks for no pool. Takes our options out of ``options``.

        Raises:
            PoolNotFound, PoolGone, NoPoolAvailable, UnknownChoice, InvalidField: the wish cannot be met.
        """
        asked = {option: options.pop(option, None) for option in OPTIONS}
        placed = any(options.get(way) for way in ("queue", "routing_key", "exchange"))
        if not any(asked.values()) and (name != names.RUN_TASK or placed):
            return None
        wish = Wish(asked["pool"], asked["pool_selector"], asked["pool_affinity"], _filter(asked["pool_filter"]))
        pool_id = run_steps_sync(self._store(), self._chooser.choose(_need(name, args), wish, route))
        if carried := tracing.headers():
            options["headers"] = {**(options.get("headers") or {}), **carried}
        return {"queue": names.queue_of(pool_id)}


def _need(name: str, args: Sequence[Any] | None) -> Need:
    spec = args[0] if name == names.RUN_TASK and args else None
    if isinstance(spec, Mapping):
        return Need(str(spec.get("task_type") or "prompt"), spec.get("worker_type"))
    return Need(task_type=name, celery=name != names.RUN_TASK)


def _filter(given: PoolFilter | Mapping[str, Any] | None) -> PoolFilter | None:
    return PoolFilter(**given) if isinstance(given, Mapping) else given

"""What a bridge keeps in the store about the tasks it has delegated."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mahavishnu_pools import errors
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.delegated import Whereabouts, note_delegated, read_delegated
from mahavishnu_pools.store.logs import START, LogPiece, read_log
from mahavishnu_pools.store.tasks import read_tasks

logger = logging.getLogger(__name__)

#: Tasks read in one call.
_CHUNK = 200


class StoreLedger:
    """The ledger of one pool."""

    def __init__(self, store: SyncStore, pool_id: str) -> None:
        self._store = store
        self._pool_id = pool_id

    def note(self, task_id: str, where: Whereabouts | None) -> None:
        """Note where a task runs, None: nowhere any more; what cannot be noted now is only missed by the sweep."""
        try:
            self._store.run(note_delegated(self._pool_id, task_id, where))
        except errors.RedisUnavailable as exc:
            logger.warning("Where %s runs cannot be noted: %s", task_id, exc, extra={"action": "delegate"})

    def noted(self) -> Mapping[str, Whereabouts]:
        """Return where tasks of the pool run."""
        return self._store.run(read_delegated(self._pool_id))

    def ended(self, task_ids: Sequence[str]) -> Sequence[str]:
        """Return those of some tasks that have their outcome, or are not known any more."""
        found: list[str] = []
        for start in range(0, len(task_ids), _CHUNK):
            some = task_ids[start : start + _CHUNK]
            results = self._store.run(read_tasks(some))
            found += [one for one, result in zip(some, results, strict=True) if result is None or result.done]
        return found

    def log(self, task_id: str) -> Sequence[LogPiece] | None:
        """Return what is known of a task's output; None: that cannot be said now."""
        found: list[LogPiece] = []
        after = START
        try:
            while pieces := self._store.run(read_log(task_id, after=after)):
                found += pieces
                after = pieces[-1].entry
        except errors.RedisUnavailable as exc:
            logger.warning("The log of %s cannot be read: %s", task_id, exc, extra={"action": "delegate"})
            return None
        return found

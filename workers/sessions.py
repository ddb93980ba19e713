"""Sessions of AI programs, as the tasks of a worker group go on with them: in turn, remembered in the store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mahavishnu_pools.store.agent_sessions import KnownSession, find_session, keep_session
from mahavishnu_pools.store.client import SyncStore

from .executors.interface import Cancellation


class Sessions:
    """The sessions that tasks of one worker group use; thread-safe."""

    def __init__(self, store: SyncStore, *, node: str) -> None:
        self._store = store
        self.node = node
        self._lock = threading.Lock()
        self._lines: dict[str, deque[threading.Event]] = {}

    @contextmanager
    def turn(self, name: str, cancellation: Cancellation) -> Iterator[None]:
        """Wait until the tasks of a session that came before have ended, or this one is cancelled."""
        mine = threading.Event()
        with self._lock:
            line = self._lines.setdefault(name, deque())
            line.append(mine)
            line[0].set()
        cancellation.on_cancel(mine.set)
        try:
            mine.wait()
            yield
        finally:
            with self._lock:
                line.remove(mine)
                if line:
                    line[0].set()
                else:
                    del self._lines[name]

    def find(self, name: str) -> KnownSession | None:
        """Return a session, None when there is none.

        Raises:
            Unavailable: the store is away.
        """
        return self._store.run(find_session(name))

    def keep(self, name: str, session_id: str) -> None:
        """Note the session that the next task goes on with; its files are on this node.

        Raises:
            Unavailable: the store is away.
        """
        self._store.run(keep_session(name, KnownSession(session_id, self.node)))

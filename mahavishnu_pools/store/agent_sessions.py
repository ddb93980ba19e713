"""Calls about sessions of AI programs: which one a task goes on with, and on which machine its files are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256

from mahavishnu_pools.store.calls import Call

#: Seconds a session is remembered after its last turn.
KEPT_SECONDS = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A session: the program's own id of it, and the node that has its files."""

    session_id: str
    node: str


def session_name(key: str, *, worker_type: str, directory: str) -> str:
    """Return the name of the session that tasks of a key have with a worker type in a directory."""
    return sha256(json.dumps([key, worker_type, directory]).encode()).hexdigest()[:32]


def find_session(name: str) -> Call[KnownSession | None]:
    """Read a session; None when there is none, or when its last turn is too long ago."""

    def parse(reply: str) -> KnownSession | None:
        if not reply:
            return None
        known = json.loads(reply)
        return KnownSession(known["id"], known["node"])

    return Call("session_read", (name,), parse)


def keep_session(name: str, session: KnownSession) -> Call[bool]:
    """Note the session that the next task goes on with."""
    text = json.dumps({"id": session.session_id, "node": session.node})
    return Call("session_keep", (name, text, round(KEPT_SECONDS * 1000)), bool)

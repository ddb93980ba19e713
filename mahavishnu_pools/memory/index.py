"""Memory records in one SQLite file: written once per ``memory_id``, found by words, metadata and time."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.memory.database import open_database, telling, transaction
from mahavishnu_pools.memory.query import Filters, clean, marks, match_expression
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.memory import MemoryRecord

__all__ = ["Filters", "Hit", "MemoryIndex"]

#: Matches that are ranked: of more, the newest ones, so that a word in every record costs no more than a rare one.
RANKED = 1000

#: Records one transaction of ``prune`` deletes, so that writers need not wait long.
PRUNED_AT_ONCE = 500

#: Ids per millisecond. An id is the record's time in milliseconds times this, plus the next free number.
_IDS = 4096

_FIRST, _LAST = -(2**63), 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RANKED_SQL = """
SELECT record.memory_id, record.content, record.metadata, record.moment, best.score FROM (
    SELECT record_text.rowid AS id, -bm25(record_text, 1.0, 0.0) AS score
    FROM record_text {join}
    WHERE record_text MATCH :match AND record_text.rowid >= :first AND record_text.rowid <= :last {exact}
    ORDER BY record_text.rowid DESC LIMIT :ranked
) AS best CROSS JOIN record ON record.id = best.id
ORDER BY best.score DESC, best.id DESC LIMIT :limit
"""

_NEWEST_SQL = """
SELECT memory_id, content, metadata, moment, 0.0 FROM record AS timed
WHERE id >= :first AND id <= :last {exact} ORDER BY id DESC LIMIT :limit
"""

_JOIN, _EXACT = (
    "CROSS JOIN record AS timed ON timed.id = record_text.rowid",
    "AND timed.moment BETWEEN :since AND :until",
)


class Hit(Value):
    """One record that was found; a higher ``score`` is a better match (0.0 where the query had no words)."""

    memory_id: str
    content: str
    metadata: dict[str, JsonValue]
    timestamp: AwareDatetime
    score: float


class MemoryIndex:
    """The index in one file; several threads and processes may use it at once. It is opened on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def put(self, records: Iterable[MemoryRecord], *, cursor: tuple[str, str] | None = None) -> int:
        """Store the records and the named cursor in one transaction; return how many records were new.

        A record whose ``memory_id`` is there already is left as it is. What was answered for stays, whatever happens.

        Raises:
            Unavailable: the file cannot be used; nothing was stored.
        """
        rows = list(records)
        with self._use() as connection, transaction(connection):
            new = sum(_insert(connection, record) for record in rows)
            if cursor is not None:
                connection.execute("INSERT OR REPLACE INTO cursor (name, value) VALUES (?, ?)", cursor)
        return new

    def cursor(self, name: str) -> str | None:
        """Return the value the cursor was last put with, or None.

        Raises:
            Unavailable: the file cannot be used.
        """
        with self._use() as connection:
            found = connection.execute("SELECT value FROM cursor WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def search(self, query: str, *, limit: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Return the best matches, the newest first among equals; an empty query finds the newest.

        All words must be there, in any order; ``"several words"`` must stand together, ``word*`` is the beginning of
        one. All other characters are plain text. Of more than 1,000 matches (or ``limit``) the newest are ranked.

        Raises:
            InvalidField: the limit is below 1.
            Unavailable: the file cannot be used.
        """
        if limit < 1:
            raise errors.InvalidField.of("limit", f"is {limit}", "Give 1 or more.")
        chosen = filters or Filters()
        match = match_expression(query, wanted=chosen.wanted())
        if match is None:
            return []
        values = {"match": match, "limit": limit, "ranked": max(RANKED, limit), **_bounds(chosen)}
        exact = chosen.since is not None or chosen.until is not None
        sql = _RANKED_SQL.replace("{join}", _JOIN if exact else "") if match else _NEWEST_SQL
        if not query.strip():  # filters alone: nothing to rank by, the newest are wanted
            values["ranked"] = limit
        with self._use() as connection:
            return [_hit(row) for row in connection.execute(sql.replace("{exact}", _EXACT if exact else ""), values)]

    def count(self) -> int:
        """Return how many records there are.

        Raises:
            Unavailable: the file cannot be used.
        """
        with self._use() as connection:
            return int(connection.execute("SELECT count(*) FROM record").fetchone()[0])

    def prune(self, before: datetime) -> int:
        """Delete the records older than this moment; return how many there were.

        Raises:
            Unavailable: the file cannot be used; a part may have been deleted.
        """
        deleted = 0
        while True:
            with self._use() as connection, transaction(connection):
                sql = "SELECT id, content, metadata FROM record WHERE id < ? AND moment < ? ORDER BY id LIMIT ?"
                # Records of one busy millisecond may have ids of the next ones: a minute of room is left.
                room = _first_id(before + timedelta(minutes=1)) if before.year < 9999 else _LAST
                rows = connection.execute(sql, (room, _moment(before), PRUNED_AT_ONCE)).fetchall()
                for row in rows:
                    _delete(connection, row)
            deleted += len(rows)
            if len(rows) < PRUNED_AT_ONCE:
                return deleted

    def close(self) -> None:
        """Close the file; it is opened again when needed. A second call does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._owner == os.getpid():
                connection.close()

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock, telling(self.path):
            # SQLite's connections must not be used after a fork, nor be closed there.
            if self._connection is None or self._owner != os.getpid():
                self._connection, self._owner = open_database(self.path), os.getpid()
            yield self._connection


def _insert(connection: sqlite3.Connection, record: MemoryRecord) -> bool:
    memory_id = clean(record.memory_id)
    if connection.execute("SELECT 1 FROM record WHERE memory_id = ?", (memory_id,)).fetchone():
        return False
    key, content = _free_id(connection, record.timestamp), clean(record.content)
    metadata = json.dumps(record.metadata, separators=(",", ":"))
    values = (key, memory_id, _moment(record.timestamp), metadata, content)
    connection.execute("INSERT INTO record (id, memory_id, moment, metadata, content) VALUES (?, ?, ?, ?, ?)", values)
    words = (key, content, marks(record.metadata))
    connection.execute("INSERT INTO record_text (rowid, content, marks) VALUES (?, ?, ?)", words)
    return True


def _delete(connection: sqlite3.Connection, row: tuple[int, str, str]) -> None:
    key, content, metadata = row
    sql = "INSERT INTO record_text (record_text, rowid, content, marks) VALUES ('delete', ?, ?, ?)"
    connection.execute(sql, (key, content, marks(json.loads(metadata))))
    connection.execute("DELETE FROM record WHERE id = ?", (key,))


def _free_id(connection: sqlite3.Connection, timestamp: datetime) -> int:
    first = _first_id(timestamp)
    while True:
        sql = "SELECT max(id) FROM record WHERE id >= ? AND id < ?"
        last = connection.execute(sql, (first, first + _IDS)).fetchone()[0]
        if last is None:
            return first
        if last + 1 < first + _IDS:
            return int(last) + 1
        first += _IDS


def _moment(timestamp: datetime) -> int:
    """Return the time in microseconds since 1970."""
    return (timestamp - _EPOCH) // timedelta(microseconds=1)


def _first_id(timestamp: datetime) -> int:
    return _moment(timestamp) // 1000 * _IDS


def _bounds(filters: Filters) -> dict[str, Any]:
    since, until = filters.since, filters.until
    last = _LAST if until is None or until.year >= 9999 else _first_id(until + timedelta(minutes=1))
    return {
        "first": _FIRST if since is None else _first_id(since),
        "last": last,
        "since": _FIRST if since is None else _moment(since),
        "until": _LAST if until is None else _moment(until) - 1,
    }


def _hit(row: tuple[str, str, str, int, float]) -> Hit:
    memory_id, content, metadata, moment, score = row
    timestamp = _EPOCH + timedelta(microseconds=moment)
    return Hit.model_construct(
        memory_id=memory_id, content=content, metadata=json.loads(metadata), timestamp=timestamp, score=score
    )

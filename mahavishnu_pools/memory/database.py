"""The SQLite file behind the memory index: opened once per process, made by whoever comes first."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mahavishnu_pools import errors

#: Written into the file as ``user_version``; a file of a higher one is refused.
SCHEMA_VERSION = 1

#: Seconds a writer waits for another one.
BUSY_SECONDS = 30.0

# The id is made of the record's time, so that "newest first" and time limits need no other index (see index.py).
# The text's index keeps no copy of the text: content=''. Beginnings of up to six characters have entries of their own:
# joining a thousand words that begin alike takes 0.2 s in 100,000 records, and these take a third of the file.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    memory_id TEXT NOT NULL UNIQUE,
    moment INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS record_text USING fts5(
    content, marks, content='', prefix='1 2 3 4 5 6', tokenize='unicode61 remove_diacritics 2'
);
CREATE TABLE IF NOT EXISTS cursor (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file, and make it, its directory and its tables where they are missing.

    Raises:
        Unavailable: the file cannot be opened, is no database, or was written by a newer version.
    """
    with telling(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        with _one_opener(path):
            connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            try:
                _set_up(connection, path)
            except BaseException:
                connection.close()
                raise
    return connection


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system refuse into one error that names the file.

    Raises:
        Unavailable: something was refused.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        remedy = "See to space and permissions there, or move the file away: a new one is made."
        raise errors.Unavailable(f"The memory index {path} cannot be used: {exc}. {remedy}", path=str(path)) from exc


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _one_opener(path: Path) -> Iterator[None]:
    """Let one process at a time open the file: SQLite does not wait for another that is switching to WAL."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    # FULL: what put() has answered for is also there after a loss of power; senders forget it then.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32000")
    with closing(connection.execute("PRAGMA user_version")) as found:
        version = int(found.fetchone()[0])
    if version > SCHEMA_VERSION:
        text = f"The memory index {path} was written by a newer version. Use that version, or another data directory."
        raise errors.Unavailable(text, path=str(path))
    if version < SCHEMA_VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

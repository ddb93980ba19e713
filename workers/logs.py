"""Live output of tasks, on its way into the store: batched, bounded, with head and tail kept.

One thread a worker group writes what its tasks printed, every ``FLUSH_SECONDS`` or sooner when a task ends. A task's
log keeps its first half of ``max_log_bytes`` for ever and the last half as it goes; what falls out between is named by
one mark.
"""

from __future__ import annotations

import codecs
import logging
import threading
from collections import deque
from dataclasses import dataclass, field

from mahavishnu_pools import errors
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.logs import drop_log, write_log

logger = logging.getLogger(__name__)

#: Seconds between two writes.
FLUSH_SECONDS = 0.2

#: The largest piece of output in one log entry, in bytes.
PIECE_BYTES = 16 * 1024

#: Output of a stream is joined up to so many characters, so that many small writes are few entries.
JOINED = 1024

#: Makes text of output; a character may be split between two reads, so each stream has one of its own.
_new_decoder = codecs.getincrementaldecoder("utf-8")

#: Output waiting to be written beyond this many bytes a task is dropped (with a mark): Redis is slower than the task.
WAITING_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Write:
    call: Call[list[str]]
    pieces: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _TaskLog:
    waiting: list[tuple[str, str]] = field(default_factory=list)
    #: What is being written; it stays until it surely was.
    write: _Write | None = None
    late: bool = False
    ended: bool = False
    decoders: dict[str, codecs.IncrementalDecoder] = field(default_factory=dict)
    waiting_bytes: int = 0
    dropped: int = 0
    written: int = 0
    tail: deque[tuple[str, int]] = field(default_factory=deque)
    tail_bytes: int = 0
    marked: bool = False

    def next_write(self, task_id: str, *, ttl: float) -> _Write | None:
        """Return what is to be written: what could not be before, or else what waits."""
        if self.write is None and self.waiting:
            pieces, self.waiting, self.waiting_bytes = self.waiting, [], 0
            if self.dropped:
                pieces.append(("system", f"… {self.dropped} bytes cut: the store was slower than the task …\n"))
                self.dropped = 0
            self.write = _Write(write_log(task_id, pieces, ttl=ttl), tuple(pieces))
        return self.write

    def written_as(self, pieces: tuple[tuple[str, str], ...], ids: list[str], *, half: int) -> None:
        """Note what was written: the first half of a log stays, of the rest the end."""
        self.write, self.late = None, False
        for (_, text), entry in zip(pieces, ids, strict=True):
            if self.written < half:
                self.written += len(text)
                continue
            self.tail.append((entry, len(text)))
            self.tail_bytes += len(text)

    def surplus(self, *, half: int) -> list[str]:
        """Return the entries that are too many, oldest first."""
        found, left = [], self.tail_bytes
        for entry, size in self.tail:
            if left <= half:
                break
            left -= size
            found.append(entry)
        return found

    def cut(self, count: int) -> None:
        """Note that so many entries were removed."""
        self.marked = True
        for _ in range(count):
            self.tail_bytes -= self.tail.popleft()[1]

    def take(self, stream: str, data: bytes) -> None:
        decoder = self.decoders.setdefault(stream, _new_decoder("replace"))
        for at in range(0, len(data), PIECE_BYTES):
            if text := decoder.decode(data[at : at + PIECE_BYTES]):
                self._add(stream, text)
        self.waiting_bytes += len(data)

    def _add(self, stream: str, text: str) -> None:
        # A program that prints character by character does not make an entry of each.
        if self.waiting and self.waiting[-1][0] == stream and len(self.waiting[-1][1]) + len(text) <= JOINED:
            text = self.waiting.pop()[1] + text
        self.waiting.append((stream, text))

    def end(self) -> None:
        """Take what is left of a character that never became whole."""
        for stream, decoder in self.decoders.items():
            if text := decoder.decode(b"", final=True):
                self.waiting.append((stream, text))


class LogWriter:
    """Writes the logs of a worker group's tasks. ``ttl`` is in seconds, ``max_bytes`` bounds each task's log."""

    def __init__(self, store: SyncStore, *, ttl: float, max_bytes: int) -> None:
        self._store = store
        self._ttl = ttl
        self._half = max_bytes // 2
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._logs: dict[str, _TaskLog] = {}
        self._dirty: set[str] = set()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def sink(self, task_id: str) -> TaskSink:
        """Return the sink of one task."""
        return TaskSink(self, task_id)

    def add(self, task_id: str, stream: str, data: bytes) -> None:
        """Take output; returns at once."""
        with self._lock:
            log = self._logs.setdefault(task_id, _TaskLog())
            log.ended = False
            if log.waiting_bytes > WAITING_BYTES:
                log.dropped += len(data)
            else:
                log.take(stream, data)
            self._dirty.add(task_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="log-writer", daemon=True)
                self._thread.start()
        self._wake.set()

    def finish(self, task_id: str) -> None:
        """Write what is left of a task's output and forget it; what cannot be written now is written later."""
        log = self._logs.get(task_id)
        if log is not None:
            with self._lock:
                log.end()
                log.ended = True
            self._flush(task_id)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._stop.set()
        self._wake.set()
        for task_id in list(self._logs):
            self._flush(task_id)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                dirty, self._dirty = self._dirty, set()
            for task_id in dirty:
                self._flush(task_id)
            self._stop.wait(FLUSH_SECONDS)

    def _flush(self, task_id: str) -> None:
        # One at a time: a task's end must not overtake what the writer's thread has taken before.
        with self._writing:
            with self._lock:
                log = self._logs.get(task_id)
            if log is None:
                return
            try:
                while self._write(task_id, log):
                    continue
            except errors.RedisUnavailable as exc:
                if not log.late:
                    logger.warning("Output of %s waits to be written: %s", task_id, exc)
                with self._lock:
                    log.late = True
                    self._dirty.add(task_id)
                self._wake.set()

    def _write(self, task_id: str, log: _TaskLog) -> bool:
        """Write one portion and remove what is too much; True when the next portion is to follow at once."""
        with self._lock:
            left_over = log.write is not None
            write = log.next_write(task_id, ttl=self._ttl)
        if write is not None:
            log.written_as(write.pieces, self._store.run(write.call), half=self._half)
        if gone := log.surplus(half=self._half):
            self._store.run(drop_log(task_id, gone, mark_after=None if log.marked else gone[0]))
            log.cut(len(gone))
        with self._lock:
            if log.waiting:
                return left_over or log.ended
            if log.ended:
                self._logs.pop(task_id, None)
                self._dirty.discard(task_id)
            return False


@dataclass(frozen=True, slots=True)
class TaskSink:
    """The log of one task, as executors see it."""

    writer: LogWriter
    task_id: str

    def write(self, stream: str, data: bytes) -> None:
        """Take a piece of output."""
        self.writer.add(self.task_id, stream, data)

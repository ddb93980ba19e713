"""Serves one child process from one thread: output, input, exit and wake-ups, whatever comes first."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable

from .wake import Waker

_READ_SIZE = 65536


class Pump:
    """Waits for everything that can happen to a child and sleeps while nothing does.

    What it registers is given back when ``stack`` is closed.
    """

    def __init__(self, *, consume: Callable[[str, bytes], None], stack: contextlib.ExitStack) -> None:
        self._consume, self._stack = consume, stack
        # poll needs no descriptor of its own and is the right size for five of them.
        kind = selectors.PollSelector if hasattr(selectors, "PollSelector") else selectors.DefaultSelector
        self._selector = stack.enter_context(kind())
        self.waker = stack.enter_context(contextlib.closing(Waker()))
        self._selector.register(self.waker.fd, selectors.EVENT_READ, self.waker.clear)
        self._open = 0
        self.exited = False

    @property
    def drained(self) -> bool:
        """Tell whether every output has reached its end."""
        return not self._open

    def attach(self, process: subprocess.Popen[bytes], *, stdin: bytes | None, result_fd: int | None) -> None:
        """Begin to serve a process that has just been started with pipes."""
        assert process.stdout is not None and process.stderr is not None
        self._stack.enter_context(process.stdout)
        self._stack.enter_context(process.stderr)
        self._read_from(process.stdout.fileno(), stream="stdout")
        self._read_from(process.stderr.fileno(), stream="stderr")
        if result_fd is not None:
            self._read_from(result_fd, stream="result")
        if process.stdin is not None:
            self._stack.callback(process.stdin.close)
            self._feed(process.stdin.fileno(), stdin or b"", close=process.stdin.close)
        self._watch_exit(process)

    def serve(self, done: Callable[[], bool], *, until: float, poll: float | None = None) -> bool:
        """Serve until ``done`` is true (asked after each event and every ``poll`` seconds) or ``until`` has come.

        ``until`` is a value of ``time.monotonic``. Returns whether ``done`` was true.
        """
        while not done():
            wait = until - time.monotonic()
            if wait <= 0:
                return False
            for key, _ in self._selector.select(wait if poll is None else min(wait, poll)):
                key.data()
        return True

    def _read_from(self, fd: int, *, stream: str) -> None:
        self._open += 1

        def read() -> None:
            data = os.read(fd, _READ_SIZE)
            if data:
                self._consume(stream, data)
            else:
                self._selector.unregister(fd)
                self._open -= 1

        self._selector.register(fd, selectors.EVENT_READ, read)

    def _feed(self, fd: int, data: bytes, *, close: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        left = memoryview(data)

        def write() -> None:
            nonlocal left
            try:
                left = left[os.write(fd, left[:_READ_SIZE]) :]
            except BlockingIOError:
                return
            except OSError:
                # The child does not read its input, or not all of it. That is its own affair.
                left = left[:0]
            if not left:
                self._selector.unregister(fd)
                close()

        self._selector.register(fd, selectors.EVENT_WRITE, write)

    def _watch_exit(self, process: subprocess.Popen[bytes]) -> None:
        if not hasattr(os, "pidfd_open"):
            self._watch_exit_by_thread(process)
            return
        fd = os.pidfd_open(process.pid)
        self._stack.callback(os.close, fd)

        def reap() -> None:
            self._selector.unregister(fd)
            process.wait()
            self.exited = True

        self._selector.register(fd, selectors.EVENT_READ, reap)

    def _watch_exit_by_thread(self, process: subprocess.Popen[bytes]) -> None:
        def wait() -> None:
            process.wait()
            self.exited = True
            self.waker.wake()

        threading.Thread(target=wait, name=f"exit-of-{process.pid}", daemon=True).start()

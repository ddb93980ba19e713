"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import os
import threading


class Waker:
    """A descriptor that becomes readable on ``wake``; waking after ``close`` does nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        if hasattr(os, "eventfd"):
            self.fd = self._write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.fd, self._write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)

    def wake(self) -> None:
        """Make the descriptor readable; safe from any thread."""
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._write_fd, (1).to_bytes(8, "little"))
                except BlockingIOError:
                    # It is full of wake-ups already, which is all a reader needs to know.
                    return

    def clear(self) -> None:
        """Take all wake-ups."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the descriptors back."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
                if self._write_fd != self.fd:
                    os.close(self._write_fd)

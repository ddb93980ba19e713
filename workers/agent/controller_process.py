"""The zygote's side of its controller: the process, the socket to it, and when to start the next one."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from . import wire
from .backoff import Backoff

logger = logging.getLogger(__name__)

#: Bytes waiting for a controller that does not read; then it is taken for frozen and replaced.
MOST_UNREAD = 16 * 1024 * 1024


class ControllerProcess:
    """At most one controller at a time; between two of them messages are dropped, the next one asks for a listing."""

    def __init__(self, selector: selectors.BaseSelector, on_message: Callable[[wire.Message], None]) -> None:
        self.pid = 0
        self._selector = selector
        self._on_message = on_message
        self._channel: socket.socket | None = None
        self._decoder = wire.Decoder()
        self._unsent = bytearray()
        self._backoff = Backoff()
        self._began = 0.0
        self._due: float | None = None

    def started(self, pid: int, channel: socket.socket) -> None:
        """Take a new controller and its socket."""
        channel.setblocking(False)
        self.pid, self._channel, self._began, self._due = pid, channel, time.monotonic(), None
        self._decoder, self._unsent = wire.Decoder(), bytearray()
        self._selector.register(channel, selectors.EVENT_READ, self._serve)

    def ended(self) -> None:
        """Note that the controller failed; the next one is due after a pause."""
        self._drop_channel()
        self.pid = 0
        now = time.monotonic()
        self._due = now + self._backoff.failed(lived=now - self._began)

    def pause(self) -> float | None:
        """Return the seconds until the next controller is due, None when there is one."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def send(self, message: wire.Message) -> None:
        """Send a message as soon as the controller reads."""
        if self._channel is None:
            return
        self._unsent += wire.encode(message)
        self._write()
        if len(self._unsent) > MOST_UNREAD:
            logger.error("The controller does not read and is killed", extra={"action": "controller"})
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the socket in a child that must not have it."""
        if self._channel is not None:
            self._channel.close()

    def _serve(self) -> None:
        channel = self._channel
        if channel is None:
            return
        self._write()
        try:
            data = channel.recv(65536)
        except BlockingIOError:
            return
        except OSError as exc:
            logger.warning("The controller's socket failed: %s", exc)
            data = b""
        if not data:
            self._drop_channel()
            return
        try:
            messages = self._decoder.feed(data)
        except wire.Garbled:
            logger.exception("The controller cannot be understood and is killed", extra={"action": "controller"})
            os.kill(self.pid, signal.SIGKILL)
            self._drop_channel()
            return
        for message in messages:
            self._on_message(message)

    def _write(self) -> None:
        if self._channel is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self._channel.send(self._unsent)]
        except BlockingIOError:
            self._selector.modify(self._channel, selectors.EVENT_READ | selectors.EVENT_WRITE, self._serve)
            return
        except OSError as exc:
            logger.warning("The controller's socket failed: %s", exc)
            self._unsent.clear()
        self._selector.modify(self._channel, selectors.EVENT_READ, self._serve)

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None

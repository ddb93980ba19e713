"""The agent's first process: forks the controller and, on its word, worker groups; waits for what ends.

It has no connection and no thread, so forking it is safe at any time, and nothing that breaks elsewhere can break it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Protocol

from . import wire
from .controller_process import ControllerProcess
from .forking import HANDLED, fork
from .group_process import run_group_process
from .preparation import Preparation
from .spawning import Spawned, spawn
from .start import GroupStart
from .ticks import Ticks

logger = logging.getLogger(__name__)

#: Exit codes of a controller that no new one would change: done, bad settings, no usable Redis.
FINAL_CODES = frozenset({0, 2, 4})

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Seat:
    """What a controller gets from the zygote: the socket to it, the news of groups, their signs of life."""

    channel: socket.socket
    news_fd: int
    ticks: Ticks
    agent_pid: int


class RunController(Protocol):
    """The controller: runs in a process of its own and returns its exit code."""

    def __call__(self, seat: Seat) -> int:
        """Run until told to stop."""
        ...


@dataclass(frozen=True, slots=True)
class _Living:
    slot: int
    start: str


def become_subreaper() -> None:
    """Make this process the parent of all its descendants that lose theirs (Linux; elsewhere init takes them)."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        logger.warning("This process cannot adopt orphans: %s", os.strerror(ctypes.get_errno()))


class Zygote:
    """See the module. ``function`` is what a group runs; ``kept`` are descriptors controllers hold (a lock)."""

    def __init__(
        self, run_controller: RunController, function: str, *, by_exec: bool, kept: tuple[int, ...] = ()
    ) -> None:
        self._run_controller = run_controller
        self._function = function
        self._preparation = Preparation(function)
        self._by_exec = by_exec
        self._kept = kept
        self._ticks = Ticks.create(by_descriptor=by_exec)
        self._news_read, self._news_write = os.pipe()
        os.set_blocking(self._news_write, False)
        os.set_inheritable(self._news_write, by_exec)
        self._wake_read, self._wake_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._controller = ControllerProcess(self._selector, self._on_message)
        self._groups: dict[int, _Living] = {}
        self._stops = 0
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve until the controller has ended in good order; returns the agent's exit code."""
        self._listen_to_signals()
        self._start_controller()
        while self._exit_code is None:
            for key, _ in self._selector.select(self._controller.pause()):
                key.data()
            if self._controller.pause() == 0.0 and self._exit_code is None:
                self._start_controller()
        self._end_groups()
        return self._exit_code

    # ── signals and children ─────────────────────────────────────────────────────────────────────────────────────────

    def _listen_to_signals(self) -> None:
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        for number in HANDLED:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_signals)

    def _on_signals(self) -> None:
        for number in os.read(self._wake_read, 4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stops += 1
                self._controller.send(wire.Stop(hurry=self._stops > 1))
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._on_exit(pid, os.waitstatus_to_exitcode(status))

    def _on_exit(self, pid: int, code: int) -> None:
        if pid == self._controller.pid:
            self._on_controller_exit(code)
        elif self._groups.pop(pid, None) is not None:
            self._controller.send(wire.Exited(pid, code=max(0, code), signal=max(0, -code)))
        else:
            logger.debug("Waited for orphan %d", pid)

    def _end_groups(self) -> None:
        """End what a controller left that could not do its work to the end; the next agent takes their claims back."""
        for pid in self._groups:
            logger.warning("Worker group %d was left and is killed", pid, extra={"action": "stop"})
            os.kill(pid, signal.SIGKILL)

    # ── the controller ───────────────────────────────────────────────────────────────────────────────────────────────

    def _start_controller(self) -> None:
        ours, theirs = socket.socketpair()
        seat = Seat(theirs, news_fd=self._news_read, ticks=self._ticks, agent_pid=os.getpid())

        def release() -> None:
            self._release()
            ours.close()

        keep = (theirs.fileno(), self._news_read, *self._kept)
        pid = fork(lambda: self._run_controller(seat), release=release, keep=keep)
        theirs.close()
        self._controller.started(pid, ours)
        logger.info("Controller %d was started", pid, extra={"action": "start_controller"})
        if self._stops:
            self._controller.send(wire.Stop(hurry=self._stops > 1))

    def _on_controller_exit(self, code: int) -> None:
        if code == 0 or (code in FINAL_CODES and not self._groups):
            self._exit_code = code
            return
        logger.error("The controller ended with code %d and is started again", code, extra={"action": "controller"})
        self._controller.ended()

    def _on_message(self, message: wire.Message) -> None:
        if isinstance(message, wire.StartGroup):
            self._controller.send(self._start_group(message))
        elif isinstance(message, wire.ListGroups):
            living = [(pid, group.slot, group.start) for pid, group in self._groups.items()]
            self._controller.send(wire.Listing(message.request, living))

    # ── groups ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_group(self, order: wire.StartGroup) -> wire.Started:
        self._ticks.clear(order.slot)
        try:
            pid = self._spawn(order) if self._by_exec else self._fork(order)
        except OSError as exc:
            return wire.Started(order.request, 0, f"This machine cannot start another process now: {exc.strerror}.")
        self._groups[pid] = _Living(order.slot, order.start)
        return wire.Started(order.request, pid)

    def _spawn(self, order: wire.StartGroup) -> int:
        assert self._ticks.fd is not None, "the memory was made for groups started by exec"
        inherited = Spawned(self._function, news_fd=self._news_write, ticks_fd=self._ticks.fd)
        return spawn(inherited, slot=order.slot, start=order.start)

    def _fork(self, order: wire.StartGroup) -> int:
        start = GroupStart.from_json(order.start)
        function = self._preparation.function_for(start)

        def body() -> int:
            return run_group_process(
                lambda: function, start, slot=order.slot, ticks=self._ticks, news_fd=self._news_write
            )

        return fork(body, release=self._release, keep=(self._news_write,))

    def _release(self) -> None:
        """Close in a child the objects that own descriptors: their numbers will belong to other files there."""
        self._selector.close()
        self._controller.close()

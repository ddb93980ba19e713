"""Runs one command with its whole process tree under control: input, output, timeout, cancel, nothing left behind.

The child leads a session and process group of its own. One thread, the caller's, waits for everything at once and
sleeps while nothing happens, so a hundred runs in one process cost no CPU.

Ending: TERM to the group and to descendants that left it, the grace period, KILL, and a sweep for processes that carry
the task's id. After a normal exit, what is left in the group or holds the output open is ended in the same way with at
most a second of grace; a daemon that a task put into a session of its own, with its own output, is let live.

There is no starter thread: only ``PR_SET_PDEATHSIG`` would need one, and ``processes`` says why that is not used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from . import processes
from .interface import Cancellation, Refused
from .pump import Pump

#: Names the number of the file descriptor a child writes its JSON result to.
RESULT_FD_VARIABLE = "MAHAVISHNU_RESULT_FD"

#: How long output is awaited after the last process of the task is gone, in seconds: an unknown one may hold the pipe.
_DRAIN = 0.25

#: Grace for what a command left in its group after it had ended by itself, in seconds.
_LEFTOVER_GRACE = 1.0

#: How long killed processes are given to disappear, in seconds.
_KILL_PATIENCE = 1.5

#: Pause between two looks at processes whose end nobody reports, in seconds.
_POLL = 0.03


@dataclass(frozen=True, slots=True)
class Command:
    """What is run. Times are seconds; ``stdin=None`` is an empty input.

    With ``result_pipe`` the child finds the number of a writable descriptor in MAHAVISHNU_RESULT_FD; what it writes
    there arrives as stream ``result``.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    task_id: str
    timeout: float
    kill_grace: float
    stdin: bytes | None = None
    result_pipe: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. ``returncode`` is negative for a signal; ``survivors`` are processes that would not go."""

    how: Literal["exited", "timeout", "cancelled"]
    returncode: int
    survivors: tuple[int, ...] = ()


def run_command(command: Command, *, consume: Callable[[str, bytes], None], cancellation: Cancellation) -> Ended:
    """Run the command until its whole tree has ended and hand its output, piece by piece, to ``consume``.

    Raises:
        Refused: the command could not be started; the message says why.
    """
    deadline = time.monotonic() + command.timeout
    with contextlib.ExitStack() as stack:
        try:
            pump = Pump(consume=consume, stack=stack)
            process = _start(command, pump=pump, stack=stack)
        except OSError as exc:
            raise _not_started(command, exc) from exc
        cancellation.on_cancel(pump.waker.wake)
        return _Course(command, process=process, pump=pump).run(cancellation, deadline=deadline)


def describe_exit(returncode: int) -> str:
    """Return how a command ended, for people: ``exit code 3`` or ``signal 9 (SIGKILL)``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "unknown"
    return f"signal {-returncode} ({name})"


def _start(command: Command, *, pump: Pump, stack: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    env = dict(command.env)
    result_read, result_write = os.pipe() if command.result_pipe else (None, None)
    if result_read is not None:
        stack.callback(os.close, result_read)
    if result_write is not None:
        env[RESULT_FD_VARIABLE] = str(result_write)
    try:
        # No preexec_fn, so CPython uses vfork and threads are safe.
        process = subprocess.Popen(
            command.argv,
            bufsize=0,
            cwd=command.cwd,
            env=env,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if result_write is None else (result_write,),
        )
    except ValueError as exc:
        raise Refused(f"The command {command.argv[0]!r} cannot be started: {exc}.") from exc
    finally:
        if result_write is not None:
            os.close(result_write)
    try:
        pump.attach(process, stdin=command.stdin, result_fd=result_read)
    except BaseException:
        processes.signal_group(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process


class _Course:
    """The course of one run, from the start of its process to the end of the whole tree."""

    def __init__(self, command: Command, *, process: subprocess.Popen[bytes], pump: Pump) -> None:
        self._command, self._process, self._pump = command, process, pump

    def run(self, cancellation: Cancellation, *, deadline: float) -> Ended:
        how: Literal["exited", "timeout", "cancelled"] = "exited"
        survivors: tuple[int, ...] = ()
        try:
            if not self._pump.serve(lambda: self._pump.exited or cancellation.requested, until=deadline):
                how = "timeout"
            elif not self._pump.exited:
                how = "cancelled"
            if how != "exited":
                survivors = self._end_tree(grace=self._command.kill_grace)
            elif not self._left_nothing():
                survivors = self._end_tree(grace=min(self._command.kill_grace, _LEFTOVER_GRACE))
            self._pump.serve(lambda: self._pump.drained, until=time.monotonic() + _DRAIN)
        except BaseException:
            # Whatever went wrong here (a log sink, an interrupt): the tree must not outlive its supervision.
            self._kill([], strays=[])
            raise
        code = self._process.returncode if self._pump.exited else -signal.SIGKILL
        return Ended(how, returncode=code, survivors=survivors)

    def _left_nothing(self) -> bool:
        drained = self._pump.serve(lambda: self._pump.drained, until=time.monotonic() + _DRAIN)
        return drained and self._group_gone()

    def _end_tree(self, *, grace: float) -> tuple[int, ...]:
        strays = [] if self._pump.exited else processes.descendants(self._process.pid)
        deadline = time.monotonic() + grace
        self._signal_all(signal.SIGTERM, self._outside(strays))
        self._pump.serve(lambda: self._pump.exited, until=deadline)
        self._pump.serve(self._group_gone, until=min(deadline, time.monotonic() + 4 * _POLL), poll=_POLL)
        told = {seen.pid for seen in strays}
        while (left := self._left(strays)) and time.monotonic() < deadline:
            self._signal_all(signal.SIGTERM, [seen for seen in self._outside(left) if seen.pid not in told])
            told |= {seen.pid for seen in left}
            self._pump.serve(lambda: False, until=min(deadline, time.monotonic() + 4 * _POLL))
        if left or not self._group_gone():
            left = self._kill(left, strays=strays)
        return tuple(seen.pid for seen in left)

    def _kill(self, left: list[processes.Seen], *, strays: list[processes.Seen]) -> list[processes.Seen]:
        deadline = time.monotonic() + _KILL_PATIENCE
        while True:
            self._signal_all(signal.SIGKILL, left)
            # A group may stay for ever as zombies nobody reaps; its running members carry the mark and are in `left`.
            if (self._pump.exited and not left) or time.monotonic() > deadline:
                return left
            time_to_look = time.monotonic() + _POLL
            if self._pump.exited:
                self._pump.serve(lambda: False, until=time_to_look)
            else:
                self._pump.serve(lambda: self._pump.exited, until=time_to_look)
            left = self._left(strays)

    def _left(self, strays: list[processes.Seen]) -> list[processes.Seen]:
        """Return what still runs of the tree, except a leader that has not been reaped yet."""
        marked = processes.process_table().marked((self._command.task_id,))
        known = {seen.pid for seen in marked}
        return [*marked, *(seen for seen in strays if seen.pid not in known and seen.alive())]

    def _outside(self, seen: list[processes.Seen]) -> list[processes.Seen]:
        """Return those that left the group: a second TERM makes some programs give up their orderly end."""
        return [one for one in seen if processes.group_of(one.pid) not in {None, self._process.pid}]

    def _signal_all(self, number: int, others: list[processes.Seen]) -> None:
        processes.signal_group(self._process.pid, number)
        for seen in others:
            seen.signal(number)

    def _group_gone(self) -> bool:
        return self._pump.exited and not processes.signal_group(self._process.pid, 0)


def _not_started(command: Command, exc: OSError) -> Refused:
    program = command.argv[0]
    if exc.errno == errno.E2BIG:
        return Refused("The command line is too long for this system. Pass long text in a file or on standard input.")
    if exc.errno in {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
        return Refused(f"This machine cannot start another process now: {exc.strerror}.", retryable="overload")
    if exc.errno == errno.ENOENT and not os.path.isdir(command.cwd):
        return Refused(f"cwd: {str(command.cwd)!r} is no directory on this machine. Name one that exists.")
    if exc.errno == errno.ENOENT:
        return Refused(f"The program {program!r} was not found, or its interpreter is missing. Check PATH here.")
    return Refused(f"The program {program!r} cannot be started: {exc.strerror}.")

"""A command in a real pseudo-terminal: watched until it shows something, then ended with Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

#: Seconds until something must be seen, and until the command must have ended after Ctrl-C.
PATIENCE = 40.0


def watch_for_a_while(command: str, environment: dict[str, str]) -> str:
    """Run a command until it shows the usual pool, press Ctrl-C, and return what is wrong; nothing when all is well."""
    ours, theirs = pty.openpty()
    given = {**environment, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=given,
        start_new_session=True,
        preexec_fn=_own_terminal,
    )
    os.close(theirs)
    try:
        seen = _read_until(ours, b"local-pool")
        if b"local-pool" not in seen:
            return f"it showed no pool: {seen[-300:]!r}"
        os.write(ours, b"\x03")
        if not _ended(process, ours):
            return "it did not end at Ctrl-C"
        return "" if process.returncode in (0, 130) else f"exit code {process.returncode} after Ctrl-C"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(fd: int, wanted: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + PATIENCE
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:  # the other end is closed
                break
    return seen


def _ended(process: subprocess.Popen[bytes], fd: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                os.read(fd, 65536)
            except OSError:
                break
    try:
        process.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True

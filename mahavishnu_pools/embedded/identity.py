"""Tell processes apart for good: a pid alone may be given to somebody else's process later."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, named by its pid and the moment it was started.

    ``born`` is opaque text: clock ticks since boot (and the boot) on Linux, where the wall clock may jump, else a time.
    """

    pid: int
    born: str


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a living process, None when it does not exist or has ended (a zombie)."""
    born = _born_linux(pid) if sys.platform == "linux" else _born_elsewhere(pid)
    return None if born is None else ProcessId(pid, born)


def is_alive(process: ProcessId | None) -> bool:
    """Tell whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


def send_signal(process: ProcessId | None, signum: int) -> bool:
    """Send a signal to exactly this process; False when it is gone."""
    if process is None or not is_alive(process):
        return False
    try:
        os.kill(process.pid, signum)
    except ProcessLookupError:
        return False
    return True


def _born_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold anything, so count from the last bracket.
    fields = stat[stat.rfind(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return f"{int(fields[19])}-{_boot_id()}"


def _boot_id() -> str:
    try:
        return _BOOT_ID_FILE.read_text()[:8]
    except OSError:
        return "boot"


def _born_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None

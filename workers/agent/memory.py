"""Tells whether the kernel has killed for want of memory (Linux; elsewhere nobody says)."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

#: Where the kernel counts its kills for want of memory, in all control groups: a line ``oom_kill N``.
VMSTAT = Path("/proc/vmstat")

#: A kill is recent for so many seconds.
RECENT = 5.0


class MemoryWatch:
    """Compares the kernel's count with that of the last look; ``look`` is to be called now and then."""

    def __init__(self, source: Path = VMSTAT) -> None:
        self._source = source
        self._count = self._read()
        self._changed_at = float("-inf")

    def look(self) -> None:
        """Take note of the count."""
        count = self._read()
        if count != self._count:
            self._count, self._changed_at = count, time.monotonic()

    def was_short(self) -> bool:
        """Tell whether the kernel has killed something in the last seconds, or since the last look."""
        self.look()
        return time.monotonic() - self._changed_at < RECENT

    def _read(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            for line in self._source.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        return 0

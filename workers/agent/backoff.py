"""How long to wait before something that fails is started again."""

from __future__ import annotations

from dataclasses import dataclass

#: First pause in seconds; it doubles up to LONGEST.
FIRST = 0.1
LONGEST = 10.0

#: What lived this many seconds counts as healthy: the next failure is a first one again.
HEALTHY_AFTER = 30.0


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row."""

    failures: int = 0

    def failed(self, *, lived: float) -> float:
        """Note a failure after ``lived`` seconds and return the pause before the next start, in seconds."""
        if lived >= HEALTHY_AFTER:
            self.failures = 0
        self.failures += 1
        return min(LONGEST, FIRST * 2.0 ** min(self.failures - 1, 20))

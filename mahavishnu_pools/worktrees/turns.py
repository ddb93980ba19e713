"""One at a time changes the list of a repository's worktrees: git reads it while others are half made, and fails."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mahavishnu_pools.worktrees.records import Place

#: Seconds after which the turn of others is no longer awaited: each takes a moment, whatever the repository's size.
_PATIENCE = 30.0

#: Seconds between two looks whose turn it is.
_PAUSE = 0.02


@contextmanager
def turn(place: Place, common: str) -> Iterator[None]:
    """Hold the turn in the repository whose common directory this is; of several data directories each has one."""
    lock = place.repository_lock(Path(common))
    deadline = time.monotonic() + _PATIENCE
    while not lock.take("worktrees") and time.monotonic() < deadline:
        time.sleep(_PAUSE * random.uniform(0.5, 1.5))
    try:
        yield
    finally:
        lock.release()

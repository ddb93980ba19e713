"""Signs of life of an agent for the probes of its container: a small file, written every other second.

That Redis is away is no reason to end a container: what runs there goes on, and reports later. So ``alive`` asks
nothing but whether the controller works; ``ready`` also asks for a group that takes tasks, and for a word from Redis.
This module imports little: the probes are started often.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

#: Signs of life older than this many seconds are none.
STALE_AFTER = 30.0

#: The file's place in the data directory.
FILE = Path("run") / "agent.vitals"


@dataclass(frozen=True, slots=True)
class Vitals:
    """What an agent says of itself; times are those of the machine's monotonic clock.

    ``heard`` is the last word from Redis, None: there was none. ``ready``: a worker group takes tasks.
    """

    beat: float
    heard: float | None = None
    ready: bool = False


def write_vitals(data_dir: Path, vitals: Vitals) -> None:
    """Replace the file; a reader finds the old one or the new one, never half of it."""
    path = data_dir / FILE
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(vitals)))
    os.replace(fresh, path)


def complaint(data_dir: Path, *, about: str) -> str | None:
    """Return why an agent is not ``alive`` or not ``ready`` (``about``), None when it is."""
    path = data_dir / FILE
    try:
        vitals = Vitals(**json.loads(path.read_text()))
    except FileNotFoundError:
        return f"there is no {path}: the agent has not started"
    except (OSError, ValueError, TypeError) as exc:
        return f"{path} cannot be read: {exc}"
    now = time.monotonic()
    if now - vitals.beat > STALE_AFTER:
        return f"the agent's last sign of life is {now - vitals.beat:.0f} s old"
    if about == "alive":
        return None
    if vitals.heard is None or now - vitals.heard > STALE_AFTER:
        return "Redis does not answer"
    return None if vitals.ready else "no worker group takes tasks: is the pool registered?"

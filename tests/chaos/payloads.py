"""What tasks of a run write down, and the functions they call in a process of their own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event


def write(seconds: float) -> str:
    """Write down that this attempt started, work for a while, and write down its effect."""
    diary, task_id = Path(os.environ["CHAOS"]), os.environ["MAHAVISHNU_TASK_ID"]
    attempt = int(os.environ["MAHAVISHNU_ATTEMPT"])
    note(diary, "start", task_id, attempt=attempt)
    Event().wait(seconds)
    note(diary, "effect", task_id, attempt=attempt)
    return "done"


def note(diary: Path, what: str, task_id: str, *, attempt: int) -> None:
    """Append one line; an attempt that does not know its number is 0."""
    text = f"{what} {task_id} {attempt} {time.time_ns()}\n"
    # One write to a file opened for appending: lines of several processes never mix.
    descriptor = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)

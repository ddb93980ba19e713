"""Functions that tasks of a run call, in a process of their own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event


def write(seconds: float) -> str:
    """Write down that this attempt started, work for a while, and write down its effect."""
    _line("start")
    Event().wait(seconds)
    _line("effect")
    return "done"


def _line(what: str) -> None:
    task_id, attempt = os.environ["MAHAVISHNU_TASK_ID"], os.environ["MAHAVISHNU_ATTEMPT"]
    text = f"{what} {task_id} {attempt} {time.time_ns()}\n"
    # One write to a file opened for appending: lines of several processes never mix.
    descriptor = os.open(Path(os.environ["CHAOS"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)

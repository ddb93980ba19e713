"""Builds run contexts for tests of executors, with a log that remembers."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import psutil

from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from workers.executors.interface import Cancellation, Limits, RunContext
from workers.executors.processes import TASK_ID_VARIABLE
from workers.executors.registry import execute


class RecordingLog:
    """A log sink that keeps everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: list[tuple[str, bytes]] = []

    def write(self, stream: str, data: bytes) -> None:
        with self._lock:
            self._pieces.append((stream, data))

    def text(self, stream: str = "stdout") -> str:
        with self._lock:
            return b"".join(data for name, data in self._pieces if name == stream).decode("utf-8", "replace")


def make_context(spec: dict[str, Any], **overrides: Any) -> RunContext:
    """Return a context for the task with these fields; other fields of the context may be overridden."""
    fields: dict[str, Any] = {
        "task_id": f"task_{uuid.uuid4().hex[:16]}",
        "pool_id": "pool_test",
        "worker_id": "pool_test@here/1",
        "attempt": 1,
        "spec": TaskSpec(**spec),
        "worker_type": None,
        "env": {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        "default_cwd": None,
        "allowed_roots": (),
        "log": RecordingLog(),
        "cancellation": Cancellation(),
        "limits": Limits(kill_grace=0.5),
    }
    return RunContext(**{**fields, **overrides})


def shell_task(command: str, *, timeout: float = 30.0, **fields: Any) -> dict[str, Any]:
    """Return the fields of a task that gives this text to a shell."""
    payload = {"command": command, "shell": True}
    return {"task_type": "shell", "payload": payload, "timeout": timeout, **fields}


def run(spec: dict[str, Any], **overrides: Any) -> Outcome:
    """Execute one task to its end."""
    return execute(make_context(spec, **overrides))


def left_running(context: RunContext) -> list[int]:
    """Return the ids of processes that still carry the task's mark, in containers too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(TASK_ID_VARIABLE) == context.task_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def install_program(directory: Path, name: str, script: str) -> Path:
    """Write an executable shell script and return the directory, which can stand first in PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / name
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    return directory

"""Runs prompts for another process: requests come as JSON lines on standard input, outcomes go to standard output.

``python -m mahavishnu_workers.prompt_runner``. A request is ``{"id", "pool_id", "worker_id", "spec"}`` with the fields
of a task's specification, or ``{"cancel": id}``; the answer is ``{"id", "outcome"}``. When the input ends, so does all
that runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.process_logs import set_up_logging
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.worker_types import load_worker_types

from .executors.interface import Cancellation, Limits, RunContext
from .executors.registry import execute

#: Seconds beyond the time between TERM and KILL that ending what runs may take.
END_MARGIN = 5.0


class _NoLog:
    """Takes live output nobody asked for."""

    def write(self, stream: str, data: bytes) -> None:
        """Forget a piece of output."""


class PromptRunner:
    """Runs each request in a thread of its own and writes its outcome as one line."""

    def __init__(self, settings: Settings, answers: TextIO) -> None:
        self._settings = settings
        self._services = {"worker_types": load_worker_types(settings.worker_types_file)}
        self._roots = settings.allowed_roots or (Path.cwd(),)
        self._answers = answers
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Cancellation, threading.Thread]] = {}

    def take(self, request: Mapping[str, Any]) -> None:
        """Start a request, or cancel one that runs; an id that is not known (any more) is left alone."""
        if "cancel" in request:
            running = self._running.get(str(request["cancel"]))
            if running is not None:
                running[0].cancel()
            return
        cancellation = Cancellation()
        thread = threading.Thread(target=self._run, args=(request, cancellation), daemon=True)
        self._running[str(request["id"])] = (cancellation, thread)
        thread.start()

    def end(self) -> None:
        """End all that runs, and wait for that."""
        left = list(self._running.values())
        for cancellation, _ in left:
            cancellation.cancel()
        deadline = time.monotonic() + self._settings.kill_grace + END_MARGIN
        for _, thread in left:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, request: Mapping[str, Any], cancellation: Cancellation) -> None:
        try:
            outcome = execute(self._context(request, cancellation))
        except ValidationError as exc:
            remedy = "Correct the context of the task."
            outcome = Outcome(status="failed", error=invalid_field(exc, remedy=remedy).message)
        self._running.pop(str(request["id"]), None)
        line = json.dumps({"id": request["id"], "outcome": outcome.model_dump(mode="json")})
        with self._lock:
            self._answers.write(line + "\n")
            self._answers.flush()

    def _context(self, request: Mapping[str, Any], cancellation: Cancellation) -> RunContext:
        settings = self._settings
        return RunContext(
            task_id=str(request["id"]),
            pool_id=str(request["pool_id"]),
            worker_id=str(request["worker_id"]),
            attempt=1,
            spec=TaskSpec.model_validate(request["spec"]),
            worker_type=settings.default_worker_type,
            env=os.environ,
            default_cwd=None,
            allowed_roots=tuple(self._roots),
            log=_NoLog(),
            cancellation=cancellation,
            limits=Limits(kill_grace=settings.kill_grace, max_output_bytes=settings.max_output_bytes),
            services=self._services,
        )


def main() -> int:
    """Run until the input ends or SIGTERM comes, and return the exit code: 0 ended, 2 bad settings."""
    set_up_logging()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Answers alone go to the pipe: what some library prints goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        runner = PromptRunner(load_settings(), answers)
    except errors.MahavishnuError as exc:
        sys.stderr.write(f"{exc.message}\n")
        return 2
    try:
        for line in sys.stdin:
            runner.take(json.loads(line))
    finally:
        runner.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Tasks that are executed at once, each in a thread."""

from __future__ import annotations

import threading

from mahavishnu_pools.schemas.task import Outcome
from tests.fakes.run_context import RecordingLog
from workers.executors.interface import RunContext
from workers.executors.registry import execute


def started(contexts: list[RunContext]) -> tuple[list[threading.Thread], list[Outcome]]:
    """Start the tasks; the outcomes come in the order of their ends."""
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda one=one: outcomes.append(execute(one))) for one in contexts]
    for thread in threads:
        thread.start()
    return threads, outcomes


def all_at_once(contexts: list[RunContext]) -> list[Outcome]:
    """Run the tasks at once and return their outcomes."""
    threads, outcomes = started(contexts)
    for thread in threads:
        thread.join()
    return outcomes


def waits(given: RunContext) -> bool:
    """Tell whether a task says that it waits for ``somebody``."""
    assert isinstance(given.log, RecordingLog)
    return "Waiting until somebody has ended" in given.log.text("stderr")

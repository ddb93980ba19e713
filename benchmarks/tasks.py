"""Task types for the measurements; worker groups load this module through the setting ``imports``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mahavishnu_pools.task_types import task_type


class NapPayload(BaseModel):
    """How long to sleep, in seconds; ``again`` (None: the same) is for attempts after the first."""

    seconds: float = 0.0
    again: float | None = None


@task_type("bench-nap", payload=NapPayload)
def nap(payload: NapPayload, context: Any) -> None:
    """Sleep in the worker's thread, or do nothing at all."""
    first = context.attempt == 1 or payload.again is None
    seconds = payload.seconds if first else payload.again
    if seconds:
        context.cancellation.wait(seconds)

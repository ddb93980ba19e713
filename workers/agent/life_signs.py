"""Writes an agent's signs of life for as long as its controller lives; see ``vitals``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from .vitals import Vitals, write_vitals

logger = logging.getLogger(__name__)

#: How often signs of life are written, in seconds.
PERIOD = 2.0


async def show_life(data_dir: Path, how: Callable[[], tuple[float | None, bool]]) -> None:
    """Write signs of life until cancelled, from before Redis is reached; ``how``: the last word of it, and ready."""
    while True:
        heard, ready = how()
        try:
            write_vitals(data_dir, Vitals(time.monotonic(), heard, ready=ready))
        except OSError as exc:
            logger.warning("Signs of life cannot be written: %s", exc)
        await asyncio.sleep(PERIOD)

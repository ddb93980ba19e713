"""What runs in a worker group's process around the function that is the group."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from typing import Any, cast

from mahavishnu_pools.process_logs import POOL_VARIABLE

from .news import NewsWriter
from .start import GroupFunction, GroupStart
from .ticks import Ticks

logger = logging.getLogger(__name__)

#: Set in every group; programs it starts must get them too, so that the agent finds what a dead group left behind.
LEASE_VARIABLE, AGENT_VARIABLE = "MAHAVISHNU_LEASE", "MAHAVISHNU_AGENT_ID"

#: The package all this is in: ``workers`` in a checkout, ``mahavishnu_workers`` where it is installed.
PACKAGE = __name__.rpartition(".agent")[0]

#: The function that is a worker group, as module:function.
DEFAULT_FUNCTION = f"{PACKAGE}.group_worker:run_group"


def load_function(place: str) -> GroupFunction:
    """Return the function at ``module:function``."""
    module, _, name = place.partition(":")
    return cast("GroupFunction", getattr(importlib.import_module(module), name))


def run_group_process(
    load: Callable[[], GroupFunction], start: GroupStart, *, slot: int, ticks: Ticks, news_fd: int
) -> int:
    """Run the function that ``load`` returns and return the exit code; how it failed is told to the controller."""
    write = NewsWriter(news_fd, pool_id=start.pool_id)
    _mark(start)

    def news(event: str, detail: dict[str, Any]) -> None:
        if event == "ready":
            ticks.set_ready(slot)
        elif event == "leaving":
            ticks.set_leaving(slot)
        write(event, detail)

    try:
        return load()(start, tick=lambda: ticks.advance(slot), news=news)
    except Exception as exc:
        # The border of the process: whatever went wrong in it, its controller is told why.
        logger.exception("The worker group of %s failed", start.pool_id, extra={"action": "run_group"})
        write("failed", {"detail": f"{type(exc).__name__}: {exc}"})
        return 1


def _mark(start: GroupStart) -> None:
    os.environ[POOL_VARIABLE] = start.pool_id
    os.environ[LEASE_VARIABLE] = start.lease
    os.environ[AGENT_VARIABLE] = start.agent_id
    os.environ["MAHAVISHNU_NODE_NAME"] = start.node

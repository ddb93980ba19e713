"""Has made in the zygote what all groups have in common: each would make the same, and keep it in memory of its own."""

from __future__ import annotations

import logging
from typing import Any

from .group_process import load_function
from .start import GroupFunction, GroupStart, PreparedFunction
from .warmup import keep_shared

logger = logging.getLogger(__name__)


class Preparation:
    """The function that groups run, prepared at the first of them. ``place`` is its module:function."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._made_for: tuple[Any, ...] | None = None
        self._prepared: GroupFunction | None = None

    def function_for(self, start: GroupStart) -> GroupFunction:
        """Return what a group runs. What cannot be prepared is left to the group, which can tell why it fails."""
        function = load_function(self._place)
        if not isinstance(function, PreparedFunction):
            return function
        asked = (start.settings, start.redis_url)
        if self._made_for != asked:
            self._made_for, self._prepared = asked, self._prepare(function, start)
        return self._prepared or function

    @staticmethod
    def _prepare(function: PreparedFunction, start: GroupStart) -> GroupFunction | None:
        try:
            return function.prepare(start)
        except Exception:
            # The border to what a group runs: the zygote must outlive its faults.
            logger.exception("Groups cannot be prepared; each does it all by itself", extra={"action": "prepare"})
            return None
        finally:
            keep_shared()

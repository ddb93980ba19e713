"""Wishes as they are kept: by schedules, and by tasks that await approval, whose pool is chosen later. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahavishnu_pools.routing.chooser import Wish
from mahavishnu_pools.routing.eligibility import PoolFilter


def kept(wish: Wish) -> dict[str, Any]:
    """Return a wish as JSON data, with what it says alone."""
    filters = None if wish.filters is None else wish.filters.model_dump(mode="json", exclude_defaults=True)
    given = {
        "pool": wish.pool,
        "pool_selector": None if wish.selector is None else str(wish.selector),
        "pool_affinity": wish.affinity,
        "filters": filters,
    }
    return {name: value for name, value in given.items() if value is not None}


def restored(data: Mapping[str, Any]) -> Wish:
    """Return the wish that was kept."""
    filters = data.get("filters")
    wanted = None if filters is None else PoolFilter.model_validate(filters)
    return Wish(data.get("pool"), data.get("pool_selector"), data.get("pool_affinity"), wanted)

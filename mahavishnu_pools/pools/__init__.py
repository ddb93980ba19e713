"""Pools: what a handle of one offers, the types that exist, and how pools are spawned, changed and closed."""

from __future__ import annotations

import importlib
from typing import Any

#: The names that code written for the former layout imports from here, and where they live.
_ELSEWHERE = {
    "MemoryAggregator": "mahavishnu_pools.memory.aggregator",
    "PoolManager": "mahavishnu_pools.manager",
    "PoolConfig": "mahavishnu_pools.schemas.pool",
    "PoolSelector": "mahavishnu_pools.schemas.pool",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)

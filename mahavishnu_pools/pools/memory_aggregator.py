"""The aggregator under the name that older programs import."""

from __future__ import annotations

from mahavishnu_pools.memory.aggregator import MemoryAggregator

__all__ = ["MemoryAggregator"]

"""Pools of exactly three workers, and the manager of several pools."""

from __future__ import annotations

from mahavishnu_pools.session_buddy.manager import PoolManager, get_pool_manager
from mahavishnu_pools.session_buddy.pool import WORKERS, WorkerPool

__all__ = ["WORKERS", "PoolManager", "WorkerPool", "get_pool_manager"]

"""The pool tools at the import path of the former layout."""

from __future__ import annotations

from mahavishnu_pools.session_buddy.pool_tools import PoolTools

__all__ = ["PoolTools"]

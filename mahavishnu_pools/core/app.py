"""MahavishnuApp: one object with all a workflow needs, as workflows of the former layout expect it."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from mahavishnu_pools.bus.interface import Bus
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings, load_settings


class MahavishnuApp:
    """A pool manager and its message bus with the same settings (None: those of environment and file).

    Nothing is connected before the first use; ``async with`` or ``close`` ends the connections.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or load_settings()

    @property
    def message_bus(self) -> Bus:
        """The pool manager's bus, which reaches every process with the same Redis."""
        return self.pool_manager.message_bus

    @cached_property
    def pool_manager(self) -> PoolManager:
        """The pool manager; it connects at its first verb."""
        return PoolManager(settings=self.settings)

    async def close(self) -> None:
        """End the connections and the bus; pools stay, except those of a private stack."""
        await self.pool_manager.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

"""Sinks of plug-ins: places of the user's own that memory records are delivered to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from mahavishnu_pools import errors
from mahavishnu_pools.memory.sinks.interface import Delivery, Sink
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.outbox import SINKS

#: Entry points of this group name functions (or classes) that make a sink of the settings. The entry point's name is
#: that of the sink's cursor.
ENTRY_POINT_GROUP = "mahavishnu_pools.memory_sinks"

T = TypeVar("T")


def sink_names() -> tuple[str, ...]:
    """Return the names of all sinks, in the order of delivery; nothing of a plug-in is loaded."""
    return (*SINKS, *(entry.name for entry in _entries()))


def plugin_sinks(settings: Settings) -> list[Sink]:
    """Return the sinks of plug-ins, which are made when they are first used."""
    return [PluginSink(entry, settings) for entry in _entries()]


class PluginSink:
    """The border to a plug-in's sink: what is wrong there is told as ``RemoteUnavailable`` and holds up no other."""

    def __init__(self, entry: EntryPoint, settings: Settings) -> None:
        self.name = entry.name
        self._entry, self._settings = entry, settings
        self._sink: Sink | None = None

    async def deliver(self, records: Sequence[MemoryRecord]) -> Delivery:
        """Store records.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now.
        """
        return await self._asked(lambda sink: sink.deliver(records))

    async def takes_again(self, record: MemoryRecord) -> bool:
        """Store a record that may be there already.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now.
        """
        return await self._asked(lambda sink: sink.takes_again(record))

    async def search(self, query: str, *, limit: int) -> list[dict[str, Any]]:
        """Return what is found.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now.
        """
        return await self._asked(lambda sink: sink.search(query, limit=limit))

    async def _asked(self, call: Callable[[Sink], Awaitable[T]]) -> T:
        try:
            if self._sink is None:
                self._sink = self._entry.load()(self._settings)
            return await call(self._sink)
        except (errors.RemoteUnavailable, errors.RemoteRefused):
            raise
        # The border to installed plug-ins: they may raise anything.
        except Exception as exc:
            text = f"The memory sink {self.name!r} ({self._entry.value}) failed: {type(exc).__name__}: {exc}"
            raise errors.RemoteUnavailable(text) from exc


@cache
def _entries() -> tuple[EntryPoint, ...]:
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name not in SINKS}
    return tuple(found[name] for name in sorted(found))

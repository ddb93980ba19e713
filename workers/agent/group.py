"""The worker groups that live on this node, as the controller knows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from mahavishnu_pools import errors

from . import wire
from .news import News
from .start import GroupStart
from .ticks import SLOTS, Life, Ticks


@dataclass(slots=True)
class Group:
    """One living worker group. ``began`` is monotonic time; ``told`` is what its news said so far."""

    pid: int
    slot: int
    start: GroupStart
    process: psutil.Process | None
    exited: asyncio.Future[wire.Exited]
    ready: asyncio.Event
    began: float = field(default_factory=time.monotonic)
    told: dict[str, Any] = field(default_factory=dict)
    memory_mb: float | None = None
    cpu_percent: float | None = None

    @property
    def lived(self) -> float:
        """Return for how many seconds it has been living."""
        return time.monotonic() - self.began

    def take(self, event: str, detail: dict[str, Any]) -> None:
        """Take news of this group."""
        self.told.update(detail)
        if event == "ready":
            self.ready.set()


class GroupTable:
    """All groups by pid. ``on_news`` is called with the event after a group took news."""

    def __init__(self, ticks: Ticks, on_news: Callable[[Group, str], None]) -> None:
        self._ticks = ticks
        self._on_news = on_news
        self._groups: dict[int, Group] = {}
        self._reserved: set[int] = set()
        self._early: dict[int, list[News | wire.Exited]] = {}

    def __iter__(self) -> Iterator[Group]:
        return iter(list(self._groups.values()))

    def has_pool(self, pool_id: str, *, besides: Group | None = None) -> bool:
        """Tell whether a group of a pool lives, ``besides`` one."""
        return any(group.start.pool_id == pool_id for group in self._groups.values() if group is not besides)

    def life(self, group: Group) -> Life:
        """Return what the group wrote into the shared memory."""
        return self._ticks.read(group.slot)

    def reserve_slot(self) -> int:
        """Return a free place in the shared memory; ``add`` or ``free_slot`` must follow.

        Raises:
            StackPartFailed: all are taken.
        """
        used = self._reserved | {group.slot for group in self._groups.values()}
        slot = next((slot for slot in range(SLOTS) if slot not in used), None)
        if slot is None:
            raise errors.StackPartFailed(f"This agent runs {SLOTS} worker groups already. Start another agent.")
        self._reserved.add(slot)
        return slot

    def free_slot(self, slot: int) -> None:
        """Give a reserved slot back."""
        self._reserved.discard(slot)

    def add(self, pid: int, *, slot: int, start: GroupStart) -> Group:
        """Take a group that was started, with whatever was heard of it before its pid was known here."""
        try:
            process = psutil.Process(pid)
        except psutil.Error:
            process = None
        group = Group(pid, slot, start, process, asyncio.get_running_loop().create_future(), asyncio.Event())
        self._groups[pid] = group
        self._reserved.discard(slot)
        for heard in self._early.pop(pid, []):
            self.take(heard)
        if self.life(group).ready:
            group.take("ready", {})
        return group

    def remove(self, group: Group) -> None:
        """Forget a group whose process tree is gone."""
        self._groups.pop(group.pid, None)

    def take(self, heard: News | wire.Exited) -> None:
        """Take news of a group or its end."""
        group = self._groups.get(heard.pid)
        if group is None:
            self._early.setdefault(heard.pid, []).append(heard)
        elif isinstance(heard, wire.Exited):
            if not group.exited.done():
                group.exited.set_result(heard)
        elif heard.pool_id == group.start.pool_id:
            group.take(heard.event, heard.detail)
            self._on_news(group, heard.event)

"""Signs of life of worker groups, in memory that zygote, controller and groups share: no lock, no call."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass

#: The most groups of one agent.
SLOTS = 4096

#: Bytes a group has: one cache line, so that groups do not slow each other down.
SLOT_BYTES = 64

_SLOT, _TICK, _SAID = struct.Struct("=QQ"), struct.Struct("=Q"), struct.Struct("=Q")

#: What a group may have said.
_READY, _LEAVING = 1, 2


@dataclass(frozen=True, slots=True)
class Life:
    """What a group wrote: how often it ticked, and whether it said that it is ready, and that it leaves."""

    tick: int
    ready: bool
    leaving: bool = False


class Ticks:
    """The shared memory. Each slot has one writer, its group."""

    def __init__(self, memory: mmap.mmap, *, fd: int | None) -> None:
        self._memory = memory
        self.fd = fd

    @classmethod
    def create(cls, *, by_descriptor: bool) -> Ticks:
        """Make the memory; groups that are started by exec get at it by a descriptor, forked ones need none."""
        size = SLOTS * SLOT_BYTES
        if not by_descriptor:
            return cls(mmap.mmap(-1, size), fd=None)
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            fd = os.dup(file.fileno())
        os.set_inheritable(fd, True)
        return cls(mmap.mmap(fd, size), fd=fd)

    @classmethod
    def attach(cls, fd: int) -> Ticks:
        """Open the memory behind an inherited descriptor."""
        return cls(mmap.mmap(fd, SLOTS * SLOT_BYTES), fd=fd)

    def clear(self, slot: int) -> None:
        """Make a slot ready for a new group."""
        _SLOT.pack_into(self._memory, slot * SLOT_BYTES, 0, 0)

    def advance(self, slot: int) -> None:
        """Show that the group of the slot lives."""
        tick, _ = self._unpack(slot)
        # Alone: another thread may say something in this moment.
        _TICK.pack_into(self._memory, slot * SLOT_BYTES, tick + 1)

    def set_ready(self, slot: int) -> None:
        """Keep that the group of the slot is ready, for controllers that come later."""
        self._say(slot, _READY)

    def set_leaving(self, slot: int) -> None:
        """Keep that the group of the slot holds nothing any more and closes its lease."""
        self._say(slot, _LEAVING)

    def read(self, slot: int) -> Life:
        """Return what the group of the slot wrote."""
        tick, said = self._unpack(slot)
        return Life(tick, ready=bool(said & _READY), leaving=bool(said & _LEAVING))

    def _say(self, slot: int, what: int) -> None:
        _, said = self._unpack(slot)
        _SAID.pack_into(self._memory, slot * SLOT_BYTES + _TICK.size, said | what)

    def _unpack(self, slot: int) -> tuple[int, int]:
        tick, said = _SLOT.unpack_from(self._memory, slot * SLOT_BYTES)
        return tick, said

"""The controller's side of the socket to the zygote."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable

from mahavishnu_pools import errors

from . import wire
from .start import GroupStart

logger = logging.getLogger(__name__)


class ZygoteGone(Exception):
    """The agent's first process is gone; nothing can be started any more. Never seen by users."""


class ZygoteLink:
    """Sends orders and tells what happens: ``on_exited``, ``on_stop`` and, at the zygote's end, ``on_lost``."""

    def __init__(
        self,
        *,
        on_exited: Callable[[wire.Exited], None],
        on_stop: Callable[[bool], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_exited = on_exited
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._requests = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[wire.Started | wire.Listing]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, channel: socket.socket) -> None:
        """Begin to read from the socket."""
        reader, self._writer = await asyncio.open_connection(sock=channel)
        self._reading = asyncio.create_task(self._read(reader), name="zygote-link")

    async def start_group(self, start: GroupStart, *, slot: int) -> int:
        """Have a group started and return its pid.

        Raises:
            StackPartFailed: the machine cannot start another process.
            ZygoteGone: there is nobody to start it.
        """
        request = next(self._requests)
        reply = await self._ask(wire.StartGroup(request, slot, start.to_json()), request)
        assert isinstance(reply, wire.Started), "the zygote answers an order of this kind so"
        if reply.error:
            raise errors.StackPartFailed(reply.error)
        return reply.pid

    async def list_groups(self) -> list[tuple[int, int, GroupStart]]:
        """Return pid, slot and start data of the groups that live now."""
        request = next(self._requests)
        reply = await self._ask(wire.ListGroups(request), request)
        assert isinstance(reply, wire.Listing), "the zygote answers an order of this kind so"
        return [(pid, slot, GroupStart.from_json(text)) for pid, slot, text in reply.groups]

    async def _ask(self, message: wire.Message, request: int) -> wire.Started | wire.Listing:
        if self._writer is None or self._reading is None or self._reading.done():
            raise ZygoteGone("the agent's first process is gone")
        future = self._waiting[request] = asyncio.get_running_loop().create_future()
        self._writer.write(wire.encode(message))
        try:
            reply: wire.Started | wire.Listing = await future
            return reply
        finally:
            del self._waiting[request]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = wire.Decoder()
        try:
            while data := await _piece(reader):
                for message in decoder.feed(data):
                    self._take(message)
        except wire.Garbled:
            logger.exception("The agent's first process cannot be understood any more")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ZygoteGone("the agent's first process is gone"))
        self._on_lost()

    def _take(self, message: wire.Message) -> None:
        if isinstance(message, wire.Started | wire.Listing):
            future = self._waiting.get(message.request)
            if future is not None and not future.done():
                future.set_result(message)
        elif isinstance(message, wire.Exited):
            self._on_exited(message)
        elif isinstance(message, wire.Stop):
            self._on_stop(message.hurry)


async def _piece(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""

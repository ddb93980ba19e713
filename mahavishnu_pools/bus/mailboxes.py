"""Receiving what is sent to a pool: its mailbox is a list in Redis, so each message is received once, by anybody."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.broker.listener import Channel, Listener
from mahavishnu_pools.schemas.message import Message, read_message
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.bus import Request, return_mail, take_mail
from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Seconds after which a mailbox is looked into although nobody told of a message.
LOOK_AGAIN = 1.0

#: Seconds between two looks while Redis does not answer.
LOST_PAUSE = 0.5

#: Messages taken at once at most.
MOST = 100


class _Receiver:
    """Somebody who waits for a message; ``looked`` is set when the mailbox was looked into since it came."""

    __slots__ = ("looked", "message")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.message: asyncio.Future[Message | None] = loop.create_future()
        self.looked: asyncio.Future[None] = loop.create_future()


@dataclass(slots=True)
class _Mailbox:
    """The receivers of one pool in this process, what wakes the task that serves them, and its requests."""

    receivers: list[_Receiver] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    listening: bool = False


class Mailboxes:
    """Receives for the pools somebody in this process waits for. ``refuse`` is told of texts that are no message."""

    def __init__(self, store: AsyncStore, listener: Listener, refuse: Callable[[str], None]) -> None:
        self._store = store
        self._listener = listener
        self._refuse = refuse
        self._name = secrets.token_hex(8)
        self._number = 0
        self._present: dict[str, _Mailbox] = {}
        self._returns: set[asyncio.Task[None]] = set()

    async def receive(self, pool_id: str, timeout: float | None) -> Message | None:  # noqa: ASYNC109
        """Return the next message of a pool, None when there was none in time; the mailbox is looked into once."""
        box, receiver = self._enter(pool_id)
        try:
            await asyncio.wait([receiver.message], timeout=timeout)
            if not receiver.message.done():
                either: list[asyncio.Future[Any]] = [receiver.message, receiver.looked]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return receiver.message.result() if receiver.message.done() else None
        except asyncio.CancelledError:
            if receiver.message.done() and (message := receiver.message.result()) is not None:
                self._put_back(pool_id, [message.model_dump_json()])
            raise
        finally:
            if receiver in box.receivers:
                box.receivers.remove(receiver)
            box.news.set()

    async def close(self) -> None:
        """Give None to whoever waits."""
        boxes, self._present = list(self._present.values()), {}
        for box in boxes:
            if box.task is not None:
                box.task.cancel()
            for receiver in box.receivers:
                if not receiver.message.done():
                    receiver.message.set_result(None)
        tasks = [box.task for box in boxes if box.task is not None]
        await asyncio.gather(*tasks, *self._returns, return_exceptions=True)

    def _enter(self, pool_id: str) -> tuple[_Mailbox, _Receiver]:
        box = self._present.get(pool_id)
        if box is None:
            box = self._present[pool_id] = _Mailbox()
            box.task = asyncio.get_running_loop().create_task(self._serve(pool_id, box))
        receiver = _Receiver()
        box.receivers.append(receiver)
        box.news.set()
        return box, receiver

    async def _serve(self, pool_id: str, box: _Mailbox) -> None:
        try:
            while box.receivers:
                box.news.clear()
                if not await self._look(pool_id, box):
                    await self._wait(pool_id, box)
        finally:
            if self._present.get(pool_id) is box:
                del self._present[pool_id]
            if box.listening:
                self._listener.remove([keys.key("mail", prefix="", of=pool_id)])

    async def _wait(self, pool_id: str, box: _Mailbox) -> None:
        if not box.listening and box.receivers:
            box.listening = True
            channel = Channel(lambda _: box.news.set(), box.news.set)
            self._listener.add([keys.key("mail", prefix="", of=pool_id)], channel)
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                await box.news.wait()
        except TimeoutError:
            box.news.set()

    async def _look(self, pool_id: str, box: _Mailbox) -> bool:
        """Take messages for the receivers there are; False when there were fewer than these."""
        waiting = [receiver for receiver in box.receivers if not receiver.message.done()]
        if not waiting:  # they have their messages, and are about to leave
            await asyncio.sleep(0)
            return True
        self._number += 1
        request = Request(f"{self._name}:{pool_id}", self._number)
        texts: list[str] = []
        try:
            texts = await self._store.run(take_mail(pool_id, request, most=min(MOST, len(waiting))))
        except errors.Unavailable as exc:
            logger.warning("Cannot receive messages now: %s", exc, extra={"action": "receive_message"})
            await asyncio.sleep(LOST_PAUSE)
        self._hand_out(pool_id, box, texts)
        for receiver in waiting:
            if not receiver.looked.done():
                receiver.looked.set_result(None)
        return len(texts) == len(waiting)

    def _hand_out(self, pool_id: str, box: _Mailbox, texts: list[str]) -> None:
        unwanted = []
        for text in texts:
            message = read_message(text)
            receiver = next((one for one in box.receivers if not one.message.done()), None)
            if message is None:
                self._refuse(text)
            elif receiver is None:
                unwanted.append(text)
            else:
                receiver.message.set_result(message)
        if unwanted:
            self._put_back(pool_id, unwanted)

    def _put_back(self, pool_id: str, texts: list[str]) -> None:
        """Put messages back that nobody here waits for any more, for whoever asks next."""
        task = asyncio.get_running_loop().create_task(self._return(pool_id, texts))
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def _return(self, pool_id: str, texts: list[str]) -> None:
        try:
            await self._store.run(return_mail(pool_id, texts))
        except errors.Unavailable as exc:
            logger.warning("Lost %d messages to %s: %s", len(texts), pool_id, exc, extra={"action": "return_message"})

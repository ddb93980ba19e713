"""Sends the messages of one process in few requests: what is published while one is under way goes with the next."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.message import Message, MessageType
from mahavishnu_pools.store.bus import Letter, Request, publish
from mahavishnu_pools.store.client import AsyncStore

#: Messages and characters of one request at most, but one message is always sent.
MOST_LETTERS, MOST_TEXT = 500, 1024 * 1024


def letter(message: Message) -> Letter:
    """Return a message ready to be sent."""
    closed = message.source_pool_id if message.type is MessageType.POOL_CLOSED else None
    return Letter(message.type.value, message.target_pool_id, closed, message.model_dump_json())


class Outbound:
    """The way of messages from this process to the server: one request after the other, each carried out once.

    ``mailbox`` is how many messages may wait for one pool.
    """

    def __init__(self, store: AsyncStore, *, mailbox: int) -> None:
        self._store = store
        self._mailbox = mailbox
        self._name = secrets.token_hex(8)
        self._number = 0
        self._waiting: deque[tuple[Letter, asyncio.Future[int]]] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def send(self, letters: Sequence[Letter]) -> int:
        """Send messages, and return how many left a mailbox unread.

        Raises:
            RedisUnavailable: the server did not answer in time; a message may have been sent all the same.
        """
        loop = asyncio.get_running_loop()
        results = [loop.create_future() for _ in letters]
        self._waiting.extend(zip(letters, results, strict=True))
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send())
        await asyncio.wait(results)
        return sum([result.result() for result in results])

    async def close(self) -> None:
        """Give up what has not been sent."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])
        self._fail(list(self._waiting), errors.RedisUnavailable("The message bus was closed before this was sent."))
        self._waiting.clear()

    async def _send(self) -> None:
        while self._waiting:
            some = self._next()
            self._number += 1
            request = Request(self._name, self._number)
            try:
                unread = await self._store.run(publish([one for one, _ in some], request, mailbox=self._mailbox))
            except errors.Unavailable as exc:
                # Who else waits would only wait as long again for the same answer.
                self._fail([*some, *self._waiting], exc)
                self._waiting.clear()
            except BaseException as exc:
                self._fail(some, exc)
                raise
            else:
                for index, (_, result) in enumerate(some):
                    if not result.done():
                        result.set_result(0 if index else unread)

    def _next(self) -> list[tuple[Letter, asyncio.Future[int]]]:
        some = [self._waiting.popleft()]
        size = len(some[0][0].text)
        while self._waiting and len(some) < MOST_LETTERS:
            size += len(self._waiting[0][0].text)
            if size > MOST_TEXT:
                break
            some.append(self._waiting.popleft())
        return some

    @staticmethod
    def _fail(some: Sequence[tuple[Letter, asyncio.Future[int]]], exc: BaseException) -> None:
        for _, result in some:
            if not result.done():
                result.set_exception(exc)
                result.exception()  # whoever waited may be gone

"""Sends the messages of one process in few requests: what is published while one is under way goes with the next."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Messages that go together, their characters, and who is told how many left a mailbox unread."""

    letters: list[Letter]
    size: int
    result: asyncio.Future[int]

    def fail(self, exc: BaseException) -> None:
        if not self.result.done():
            self.result.set_exception(exc)
            self.result.exception()  # whoever waited may be gone


def _bundles(letters: Sequence[Letter]) -> Iterator[_Bundle]:
    """Yield messages in bundles that one request may carry."""
    loop = asyncio.get_running_loop()
    some: list[Letter] = []
    size = 0
    for one in letters:
        if some and (len(some) == MOST_LETTERS or size + len(one.text) > MOST_TEXT):
            yield _Bundle(some, size, loop.create_future())
            some, size = [], 0
        some.append(one)
        size += len(one.text)
    if some:
        yield _Bundle(some, size, loop.create_future())


class Outbound:
    """The way of messages from this process to the server: one request after the other, each carried out once.

    ``mailbox`` is how many messages may wait for one pool.
    """

    def __init__(self, store: AsyncStore, *, mailbox: int) -> None:
        self._store = store
        self._mailbox = mailbox
        self._name = secrets.token_hex(8)
        self._number = 0
        self._waiting: deque[_Bundle] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def send(self, letters: Sequence[Letter]) -> int:
        """Send messages, and return how many left a mailbox unread.

        Raises:
            RedisUnavailable: the server did not answer in time; a message may have been sent all the same.
        """
        bundles = list(_bundles(letters))
        self._waiting.extend(bundles)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())
        await asyncio.wait([bundle.result for bundle in bundles])
        return sum([bundle.result.result() for bundle in bundles])

    async def close(self) -> None:
        """Give up what has not been sent."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])
        self._give_up(errors.RedisUnavailable("The message bus was closed before this was sent."))

    async def _send(self) -> None:
        while self._waiting:
            bundles = self._next()
            self._number += 1
            letters = [letter for bundle in bundles for letter in bundle.letters]
            call = publish(letters, Request(self._name, self._number), mailbox=self._mailbox)
            try:
                unread = await self._store.run(call)
            except errors.Unavailable as exc:
                # Who else waits would only wait as long again for the same answer.
                self._waiting.extendleft(reversed(bundles))
                self._give_up(exc)
            except BaseException as exc:
                self._waiting.extendleft(reversed(bundles))
                self._give_up(_unsent(exc))
                raise
            else:
                for bundle in bundles:
                    if not bundle.result.done():
                        bundle.result.set_result(unread)
                    unread = 0

    def _next(self) -> list[_Bundle]:
        bundles = [self._waiting.popleft()]
        number, size = len(bundles[0].letters), bundles[0].size
        while self._waiting:
            number, size = number + len(self._waiting[0].letters), size + self._waiting[0].size
            if number > MOST_LETTERS or size > MOST_TEXT:
                break
            bundles.append(self._waiting.popleft())
        return bundles

    def _give_up(self, exc: BaseException) -> None:
        for bundle in self._waiting:
            bundle.fail(exc)
        self._waiting.clear()


def _unsent(exc: BaseException) -> BaseException:
    """Return what publishers are told: the end of the task that sends is no cancellation of theirs."""
    if isinstance(exc, asyncio.CancelledError):
        return errors.RedisUnavailable("The message bus was closed before this was surely sent.")
    return exc

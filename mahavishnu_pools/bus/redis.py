"""A message bus over Redis: publish/subscribe for who listens, a mailbox for each pool."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from mahavishnu_pools import errors
from mahavishnu_pools.bus.hearing import Hearing
from mahavishnu_pools.bus.interface import DEFAULT_QUEUE_SIZE, BusCounts, Delegate, Handler
from mahavishnu_pools.bus.mailboxes import Mailboxes
from mahavishnu_pools.bus.sending import Outbound, letter
from mahavishnu_pools.bus.subscriptions import QueuedSubscription, Subscriptions
from mahavishnu_pools.schemas.message import Message, MessageType, parse_message
from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Seconds between two tries to connect for who only subscribes.
AWAY_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class _Connection:
    """What a connected bus works with."""

    outbound: Outbound
    hearing: Hearing
    mailboxes: Mailboxes

    async def close(self) -> None:
        await self.mailboxes.close()
        await self.outbound.close()
        await self.hearing.close()


class RedisBus:
    """A bus that reaches every process with the same Redis and namespace. It belongs to one event loop.

    It connects by itself at its first use, by ``connect``, whose store it does not close; it connects again by itself
    after a loss. ``max_queue_size`` is the number of messages that may wait for one subscriber, and in the mailbox of
    the pools it sends to. With ``delegate`` the tasks of ``task_delegate`` messages are put on queues.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncStore]],
        max_queue_size: int = DEFAULT_QUEUE_SIZE,
        *,
        delegate: Delegate | None = None,
    ) -> None:
        self._connect = connect
        self._size = max_queue_size
        self._delegate = delegate
        self._subscriptions = Subscriptions(max_queue_size, self._changed)
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None
        self._tally: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self._connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Tell whether the bus was used since it was made or closed."""
        return self._connection is not None

    async def ready(self) -> None:
        """Connect, and wait until the server has confirmed all subscriptions.

        Raises:
            RedisUnavailable: it did not in time.
        """
        await (await self._connected()).hearing.ready()

    async def settled(self) -> None:
        """Wait until the server has confirmed subscriptions that are new, not those it confirmed before a loss.

        A server that does not in time is let be; who publishes is told.
        """
        if self._beginning is not None:
            with contextlib.suppress(errors.MahavishnuError):
                await self._connected()
        if self._connection is not None:
            await self._connection.hearing.settled()

    def subscribe(self, message_type: MessageType | str, handler: Handler) -> QueuedSubscription:
        """Have the handler, a function or a coroutine function, called with every message of a type from now on.

        Messages of other processes come from the moment when the server has confirmed it; what this bus publishes
        after this call comes too.

        Raises:
            UnknownChoice: there is no such type.
            InvalidField: the handler cannot be called.
        """
        return self._subscriptions.add(message_type, handler)

    async def publish(self, message: Message | Mapping[str, Any]) -> Message:
        """Send a message, given as such or as a dict, and return it; waits for nobody who gets it.

        Raises:
            UnknownChoice: there is no such message type.
            InvalidField: the message cannot be used; it was not sent.
            RedisUnavailable: the server did not answer in time (the settings' ``submit_timeout``).
            MahavishnuError: the task of a ``task_delegate`` could not be put on its pool's queue; nothing was sent.
        """
        return (await self.publish_many([message]))[0]

    async def publish_many(self, messages: Iterable[Message | Mapping[str, Any]]) -> list[Message]:
        """Send messages in their order, many in one request; all are checked before the first is sent.

        Raises like ``publish``. Tasks are put on queues before anything is sent; those before one that is refused stay
        there, and repeating the same messages does not run them again.
        """
        checked = [parse_message(message) for message in messages]
        connection = await self._connected()
        await connection.hearing.ready()
        for message in checked:
            if message.type is MessageType.TASK_DELEGATE and self._delegate is not None:
                await self._delegate(message)
        if checked:
            unread = await connection.outbound.send([letter(message) for message in checked])
            self._tally.update(published=len(checked), unread=unread)
        return checked

    async def receive(self, pool_id: str, timeout: float | None = None) -> Message | None:  # noqa: ASYNC109
        """Return the next message whose target is this pool; None when there was none in ``timeout`` seconds.

        ``timeout=None`` waits for ever, also while the server is away. Each message is received once, whoever else
        receives for the pool, in whatever process, or subscribes to its type.
        """
        return await (await self._connected()).mailboxes.receive(pool_id, timeout)

    def counts(self) -> BusCounts:
        """Return what the bus has done so far in this process."""
        return BusCounts(
            **{name: self._tally[name] for name in ("published", "unread", "refused", "missed")},
            dropped=self._subscriptions.dropped,
            failed=self._subscriptions.failed,
        )

    async def close(self) -> None:
        """End all subscriptions, handlers at work too, and give None to whoever still receives."""
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            beginning.cancel()
            await asyncio.wait([beginning])
        await self._subscriptions.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None:
                store = await self._connect()
                hearing = Hearing(store, self._subscriptions, self._tally)
                mailboxes = Mailboxes(store, hearing.listener, lambda text: hearing.refuse(text, place="a mailbox"))
                self._connection = _Connection(Outbound(store, mailbox=self._size), hearing, mailboxes)
                hearing.start()
            return self._connection

    def _changed(self, kind: MessageType) -> None:
        """Listen to a type or no more; who only subscribes is connected in the background."""
        if self._connection is not None:
            self._connection.hearing.adjust(kind)
        elif self._beginning is None and kind in self._subscriptions.kinds:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # before the event loop: the first use in it connects
            self._beginning = loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await _until_connected(self._connected)
        finally:
            self._beginning = None


async def _until_connected(connect: Callable[[], Awaitable[object]]) -> None:
    """Connect, again and again while the server is away: who only subscribes does nothing that would."""
    level = logging.WARNING
    while True:
        try:
            await connect()
        except errors.RedisUnavailable as exc:
            logger.log(level, "The message bus cannot connect: %s", exc, extra={"action": "connect"})
            level = logging.DEBUG  # said once, not at every try
        except errors.MahavishnuError as exc:
            logger.warning("The message bus cannot connect: %s", exc, extra={"action": "connect"})
            return
        else:
            return
        await asyncio.sleep(AWAY_PAUSE)

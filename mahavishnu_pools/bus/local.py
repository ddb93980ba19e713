"""A message bus inside one process and one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from mahavishnu_pools.bus.interface import DEFAULT_QUEUE_SIZE, BusCounts, Delegate, Handler
from mahavishnu_pools.bus.subscriptions import QueuedSubscription, Subscriptions
from mahavishnu_pools.schemas.message import Message, MessageType, parse_message

#: Pools for which messages are kept at a time; what waits for more of them is given up, the longest unheard first.
MAX_MAILBOXES = 1000


class _Mailbox:
    """Messages that wait for one pool; None wakes a receiver for good."""

    def __init__(self, size: int) -> None:
        self.queue: asyncio.Queue[Message | None] = asyncio.Queue(size)
        self.receivers = 0

    def put(self, message: Message | None) -> int:
        """Queue a message and return how many (0 or 1) it displaced."""
        displaced = 0
        if self.queue.full():
            self.queue.get_nowait()
            displaced = 1
        self.queue.put_nowait(message)
        return displaced


class MessageBus:
    """A bus inside this process. It belongs to one event loop and needs no closing when nothing waits any more.

    ``max_queue_size`` is the number of messages that may wait for one subscriber, and for one pool.
    """

    def __init__(self, max_queue_size: int = DEFAULT_QUEUE_SIZE) -> None:
        self._subscriptions = Subscriptions(max_queue_size, self._subscribed)
        self._size = max_queue_size
        self._mailboxes: dict[str, _Mailbox] = {}
        self._published = 0
        self._unread = 0
        self._delegates: list[Delegate] = []
        self._listeners: list[Callable[[MessageType, bool], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def kinds(self) -> tuple[MessageType, ...]:
        """Return the types somebody subscribes to."""
        return self._subscriptions.kinds

    def attach(self, delegate: Delegate, on_change: Callable[[MessageType, bool], None]) -> None:
        """Have tasks that are delegated here run by a manager. Of several managers the first one runs them.

        ``on_change`` is told of a type with its first subscription (True) and after its last (False).
        """
        self._delegates.append(delegate)
        self._listeners.append(on_change)

    def subscribe(self, message_type: MessageType | str, handler: Handler) -> QueuedSubscription:
        """Have the handler, a function or a coroutine function, called with every message of a type from now on.

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
            MahavishnuError: the bus of a manager could not put the task of a ``task_delegate`` on its pool's queue.
        """
        sent = parse_message(message)
        await self._send(sent)
        # Without a turn for the handlers, a loop that only publishes would fill every queue, however quick they are.
        await asyncio.sleep(0)
        return sent

    async def publish_many(self, messages: Iterable[Message | Mapping[str, Any]]) -> list[Message]:
        """Send messages in their order; all are checked before the first is sent. Raises like ``publish``."""
        checked = [parse_message(message) for message in messages]
        for sent in checked:
            await self._send(sent)
        return checked

    async def deliver(self, sent: Message) -> None:
        """Give a message to its subscribers and its target here, and delegate nothing."""
        self._published += 1
        if self._subscriptions.put(sent):
            await asyncio.sleep(0)
        if sent.target_pool_id is not None:
            if sent.target_pool_id not in self._mailboxes and len(self._mailboxes) >= MAX_MAILBOXES:
                self._give_up_one()
            self._unread += self._mailbox(sent.target_pool_id).put(sent)
        if sent.type is MessageType.POOL_CLOSED:
            self._give_up(sent.source_pool_id)

    async def receive(self, pool_id: str, timeout: float | None = None) -> Message | None:  # noqa: ASYNC109
        """Return the next message whose target is this pool; None when there was none in ``timeout`` seconds.

        ``timeout=None`` waits for ever. Each message is received once, whoever else subscribes to its type.
        """
        mailbox = self._mailbox(pool_id)
        mailbox.receivers += 1
        try:
            async with asyncio.timeout(timeout):
                return await mailbox.queue.get()
        except TimeoutError:
            return None
        finally:
            mailbox.receivers -= 1
            if not mailbox.receivers and mailbox.queue.empty() and self._mailboxes.get(pool_id) is mailbox:
                del self._mailboxes[pool_id]

    def counts(self) -> BusCounts:
        """Return what the bus has done so far."""
        return BusCounts(
            published=self._published,
            unread=self._unread,
            dropped=self._subscriptions.dropped,
            failed=self._subscriptions.failed,
        )

    async def close(self) -> None:
        """End all subscriptions, handlers at work too, and give None to whoever still receives."""
        await self._subscriptions.stop()
        for mailbox in self._mailboxes.values():
            for _ in range(mailbox.receivers):
                mailbox.put(None)
        self._mailboxes.clear()

    async def _send(self, sent: Message) -> None:
        if sent.type is MessageType.TASK_DELEGATE and self._delegates:
            await self._delegates[0](sent)
        await self.deliver(sent)

    def _subscribed(self, kind: MessageType) -> None:
        for listener in self._listeners:
            listener(kind, kind in self.kinds)

    def _mailbox(self, pool_id: str) -> _Mailbox:
        if pool_id not in self._mailboxes:
            self._mailboxes[pool_id] = _Mailbox(self._size)
        return self._mailboxes[pool_id]

    def _give_up_one(self) -> None:
        unheard = next((pool_id for pool_id, mailbox in self._mailboxes.items() if not mailbox.receivers), None)
        if unheard is not None:
            self._give_up(unheard)

    def _give_up(self, pool_id: str) -> None:
        """Drop what waits for a pool, unless somebody receives it at this moment."""
        mailbox = self._mailboxes.get(pool_id)
        if mailbox is not None and not mailbox.receivers:
            self._unread += mailbox.queue.qsize()
            del self._mailboxes[pool_id]

"""A message bus inside one process and one event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Self

from mahavishnu_pools import errors
from mahavishnu_pools.bus.interface import DEFAULT_QUEUE_SIZE, BusCounts, Handler
from mahavishnu_pools.schemas.message import Message, MessageType, parse_message, parse_type

logger = logging.getLogger(__name__)

#: Pools for which messages are kept at a time; what waits for more of them is given up, the longest unheard first.
MAX_MAILBOXES = 1000


class LocalSubscription:
    """One handler with its own queue; calls go one after the other, in a task that lives while messages wait."""

    def __init__(
        self, handler: Handler, *, name: str, size: int, on_cancel: Callable[[LocalSubscription], None]
    ) -> None:
        self.dropped = 0
        self.failed = 0
        self._handler = handler
        self._name = name
        self._size = size
        self._on_cancel = on_cancel
        self._queue: deque[Message] = deque()
        self._full = False
        self._delivery: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Return how many messages wait for the handler."""
        return len(self._queue)

    def put(self, message: Message) -> None:
        """Queue a message and see to its delivery; from a full queue the oldest is dropped."""
        if len(self._queue) >= self._size:
            self._queue.popleft()
            self._drop()
        self._queue.append(message)
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.get_running_loop().create_task(self._deliver())

    def cancel(self) -> None:
        """End the subscription; what waits is not delivered. A handler at work may end. A second call does nothing."""
        self._queue.clear()
        self._on_cancel(self)

    async def stop(self) -> None:
        """End the subscription, and a handler that is at work."""
        self.cancel()
        delivery, self._delivery = self._delivery, None
        if delivery is not None and delivery is not asyncio.current_task():
            delivery.cancel()
            await asyncio.wait([delivery])

    def _drop(self) -> None:
        self.dropped += 1
        if not self._full:
            self._full = True
            logger.warning(
                "A subscriber to %s is too slow: %d messages wait, older ones are dropped",
                *(self._name, self._size),
                extra={"action": "drop_message", "message_type": self._name},
            )

    async def _deliver(self) -> None:
        while self._queue:
            message = self._queue.popleft()
            try:
                answer = self._handler(message)
                if inspect.isawaitable(answer):
                    await answer
            # The border to the user's handlers: what one raises must not keep it, or others, from later messages.
            except Exception:
                self.failed += 1
                logger.exception(
                    "A handler of %s failed", self._name, extra={"action": "handle_message", "message_type": self._name}
                )
        if self._full:
            self._full = False
            logger.warning("A subscriber to %s keeps up again; it lost %d messages so far", self._name, self.dropped)


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
        if type(max_queue_size) is not int or max_queue_size < 1:
            raise errors.InvalidField.of("max_queue_size", f"is {max_queue_size!r}", "Give a whole number from 1.")
        self._size = max_queue_size
        self._subscriptions: dict[MessageType, list[LocalSubscription]] = {}
        self._mailboxes: dict[str, _Mailbox] = {}
        self._published = 0
        self._unread = 0
        #: What subscriptions that were cancelled since had dropped and failed.
        self._dropped = 0
        self._failed = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def subscribe(self, message_type: MessageType | str, handler: Handler) -> LocalSubscription:
        """Have the handler, a function or a coroutine function, called with every message of a type from now on.

        Raises:
            UnknownChoice: there is no such type.
            InvalidField: the handler cannot be called.
        """
        if not callable(handler):
            raise errors.InvalidField.of("handler", "cannot be called", "Give a function that takes the message.")
        kind = parse_type(message_type)
        subscription = LocalSubscription(
            handler, name=kind.value, size=self._size, on_cancel=lambda ended: self._forget(kind, ended)
        )
        self._subscriptions.setdefault(kind, []).append(subscription)
        return subscription

    async def publish(self, message: Message | Mapping[str, Any]) -> Message:
        """Send a message, given as such or as a dict, and return it; waits for nobody who gets it.

        Raises:
            UnknownChoice: there is no such message type.
            InvalidField: the message cannot be used; it was not sent.
        """
        sent = parse_message(message)
        self._published += 1
        for subscription in tuple(self._subscriptions.get(sent.type, ())):
            subscription.put(sent)
        if sent.target_pool_id is not None:
            if sent.target_pool_id not in self._mailboxes and len(self._mailboxes) >= MAX_MAILBOXES:
                self._give_up(next(iter(self._mailboxes)))
            self._unread += self._mailbox(sent.target_pool_id).put(sent)
        if sent.type is MessageType.POOL_CLOSED:
            self._give_up(sent.source_pool_id)
        # Without a turn for the handlers, a loop that only publishes would fill every queue, however quick they are.
        await asyncio.sleep(0)
        return sent

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
        present = [one for several in self._subscriptions.values() for one in several]
        return BusCounts(
            published=self._published,
            unread=self._unread,
            dropped=self._dropped + sum(one.dropped for one in present),
            failed=self._failed + sum(one.failed for one in present),
        )

    async def close(self) -> None:
        """End all subscriptions, handlers at work too, and give None to whoever still receives."""
        for subscription in [one for several in self._subscriptions.values() for one in several]:
            await subscription.stop()
        for mailbox in self._mailboxes.values():
            for _ in range(mailbox.receivers):
                mailbox.put(None)
        self._mailboxes.clear()

    def _mailbox(self, pool_id: str) -> _Mailbox:
        if pool_id not in self._mailboxes:
            self._mailboxes[pool_id] = _Mailbox(self._size)
        return self._mailboxes[pool_id]

    def _give_up(self, pool_id: str) -> None:
        """Drop what waits for a pool, unless somebody receives it at this moment."""
        mailbox = self._mailboxes.get(pool_id)
        if mailbox is not None and not mailbox.receivers:
            self._unread += mailbox.queue.qsize()
            del self._mailboxes[pool_id]

    def _forget(self, kind: MessageType, ended: LocalSubscription) -> None:
        known = self._subscriptions.get(kind, [])
        if ended in known:
            known.remove(ended)
            self._dropped += ended.dropped
            self._failed += ended.failed

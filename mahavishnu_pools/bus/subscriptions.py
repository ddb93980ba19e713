"""The handlers of a bus inside this process: each has a bounded queue, and gets its messages one after the other."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable

from mahavishnu_pools import errors
from mahavishnu_pools.broker.listener import cancel_asked
from mahavishnu_pools.bus.interface import Handler
from mahavishnu_pools.schemas.message import Message, MessageType, parse_type

logger = logging.getLogger(__name__)

#: Messages after which the handlers get a turn of the event loop, whoever else has much to deliver.
TURN = 64


def checked_size(max_queue_size: int) -> int:
    """Return the size of queues.

    Raises:
        InvalidField: it is no whole number from 1.
    """
    if type(max_queue_size) is not int or max_queue_size < 1:
        raise errors.InvalidField.of("max_queue_size", f"is {max_queue_size!r}", "Give a whole number from 1.")
    return max_queue_size


class QueuedSubscription:
    """One handler with its own queue; calls go one after the other, in a task that lives while messages wait."""

    def __init__(
        self, handler: Handler, *, name: str, size: int, on_cancel: Callable[[QueuedSubscription], None]
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

    def put(self, message: Message) -> bool:
        """Queue a message and see to its delivery; from a full queue the oldest is dropped.

        True means that the queue is more than half full, and may still be worked off.
        """
        queue = self._queue
        if len(queue) >= self._size:
            queue.popleft()
            self._drop()
        queue.append(message)
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.get_running_loop().create_task(self._deliver())
        return 2 * len(queue) > self._size and not self._full

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
                if answer is not None and inspect.isawaitable(answer):
                    await answer
            # The border to the user's handlers: what one raises must not keep it, or others, from later messages; nor
            # that something was cancelled it waited for.
            except (Exception, asyncio.CancelledError):
                if cancel_asked():
                    raise
                self.failed += 1
                logger.exception(
                    "A handler of %s failed", self._name, extra={"action": "handle_message", "message_type": self._name}
                )
        if self._full:
            self._full = False
            logger.warning("A subscriber to %s keeps up again; it lost %d messages so far", self._name, self.dropped)


class Subscriptions:
    """All subscriptions of a bus. ``on_change`` is told of a type with its first subscription and after its last."""

    def __init__(self, size: int, on_change: Callable[[MessageType], None] | None = None) -> None:
        self._size = checked_size(size)
        self._turn = min(TURN, max(1, size // 2))
        self._on_change = on_change
        self._present: dict[MessageType, list[QueuedSubscription]] = {}
        self._since_turn = 0
        #: What subscriptions that were cancelled since had dropped and failed.
        self._dropped = 0
        self._failed = 0

    @property
    def kinds(self) -> tuple[MessageType, ...]:
        """Return the types somebody subscribes to."""
        return tuple(kind for kind, present in self._present.items() if present)

    @property
    def dropped(self) -> int:
        """Return how many messages all subscribers lost because too many waited."""
        return self._dropped + sum(one.dropped for one in self._all())

    @property
    def failed(self) -> int:
        """Return how many calls of handlers raised."""
        return self._failed + sum(one.failed for one in self._all())

    def add(self, message_type: MessageType | str, handler: Handler) -> QueuedSubscription:
        """Subscribe a handler, a function or a coroutine function.

        Raises:
            UnknownChoice: there is no such type.
            InvalidField: the handler cannot be called.
        """
        if not callable(handler):
            raise errors.InvalidField.of("handler", "cannot be called", "Give a function that takes the message.")
        kind = parse_type(message_type)
        made = QueuedSubscription(
            handler, name=kind.value, size=self._size, on_cancel=lambda ended: self._forget(kind, ended)
        )
        present = self._present.setdefault(kind, [])
        present.append(made)
        if len(present) == 1 and self._on_change is not None:
            self._on_change(kind)
        return made

    def put(self, message: Message) -> bool:
        """Queue a message for all that subscribe to its type; True when the handlers should have a turn now."""
        crowded = False
        for subscription in tuple(self._present.get(message.type, ())):
            if subscription.put(message):
                crowded = True
        self._since_turn += 1
        if not crowded and self._since_turn < self._turn:
            return False
        self._since_turn = 0
        return True

    async def stop(self) -> None:
        """End all subscriptions, and handlers at work."""
        for subscription in self._all():
            await subscription.stop()

    def _all(self) -> list[QueuedSubscription]:
        return [one for several in self._present.values() for one in several]

    def _forget(self, kind: MessageType, ended: QueuedSubscription) -> None:
        known = self._present.get(kind, [])
        if ended in known:
            known.remove(ended)
            self._dropped += ended.dropped
            self._failed += ended.failed
            if not known and self._on_change is not None:
                self._on_change(kind)

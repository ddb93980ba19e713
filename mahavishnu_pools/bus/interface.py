"""What every message bus offers, wherever its messages travel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mahavishnu_pools.schemas.message import Message, MessageType

#: What is called with each message. A plain function runs in the event loop and must not block.
Handler = Callable[[Message], Awaitable[object] | object]

#: What puts the task of a ``task_delegate`` message on its target's queue, once however often it is called.
Delegate = Callable[[Message], Awaitable[None]]

#: Messages that may wait for one subscriber or one pool when nothing else is said.
DEFAULT_QUEUE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class BusCounts:
    """What a bus has done so far.

    ``published`` counts messages, ``dropped`` those that subscribers lost because too many waited (once for each of
    them), ``unread`` those sent to a pool and given up because nobody received them, ``failed`` calls of handlers that
    raised. ``refused`` counts what came over the network and was no message, ``missed`` messages that were published
    while the connection was lost or that the server could not deliver in time.
    """

    published: int
    dropped: int
    unread: int
    failed: int
    refused: int = 0
    missed: int = 0


class Subscription(Protocol):
    """One handler of one message type."""

    @property
    def dropped(self) -> int:
        """Return how many messages this subscriber lost because too many waited for it."""
        ...

    @property
    def failed(self) -> int:
        """Return how many calls of the handler raised."""
        ...

    @property
    def waiting(self) -> int:
        """Return how many messages wait for the handler."""
        ...

    def cancel(self) -> None:
        """End the subscription; what waits is not delivered. A second call does nothing."""
        ...


class Bus(Protocol):
    """A bus. Every subscriber and every pool has a bounded queue of its own; from a full one the oldest is dropped.

    A subscriber gets its messages one after the other, in the order they were published. A handler that fails or is
    slow must not disturb any other. Messages are news: who was not there when one was published does not get it.
    """

    def subscribe(self, message_type: MessageType | str, handler: Handler) -> Subscription:
        """Have the handler called with every message of a type from now on.

        Raises:
            UnknownChoice: there is no such type.
        """
        ...

    async def publish(self, message: Message | Mapping[str, Any]) -> Message:
        """Send a message, given as such or as a dict, and return it; waits for nobody who gets it.

        Raises:
            UnknownChoice: there is no such message type.
            InvalidField: the message cannot be used; it was not sent.
        """
        ...

    async def publish_many(self, messages: Iterable[Message | Mapping[str, Any]]) -> list[Message]:
        """Send messages in their order, faster than one by one; all are checked before the first is sent.

        Raises like ``publish``.
        """
        ...

    async def receive(self, pool_id: str, timeout: float | None = None) -> Message | None:  # noqa: ASYNC109
        """Return the next message whose target is this pool; None when there was none in ``timeout`` seconds.

        ``timeout=None`` waits for ever. Each message is received once, whoever else subscribes to its type.
        """
        ...

    def counts(self) -> BusCounts:
        """Return what the bus has done so far."""
        ...

    async def close(self) -> None:
        """End all subscriptions and give None to whoever still receives. A second call does nothing."""
        ...

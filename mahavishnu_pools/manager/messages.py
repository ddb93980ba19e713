"""The message bus of a manager: its own over Redis, or the one it was given, which then hears what Redis tells."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from mahavishnu_pools import bootstrap, errors
from mahavishnu_pools.bus import answers
from mahavishnu_pools.bus.interface import Bus, Subscription
from mahavishnu_pools.bus.local import MessageBus
from mahavishnu_pools.bus.redis import RedisBus
from mahavishnu_pools.routing import submission
from mahavishnu_pools.routing.chooser import Wish
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schemas.message import Message, MessageType
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.steps import run_steps
from mahavishnu_pools.store.tasks import read_tasks

logger = logging.getLogger(__name__)

#: What a bus inside the process is told of when somebody subscribes to it there; answers only to whoever delegated.
RELAYED = frozenset(MessageType) - {MessageType.TASK_DELEGATE, MessageType.RESULT_SHARE}

#: Messages of a bus inside the process whose answers are waited for at most; the oldest are given up.
UNANSWERED_MOST = 10_000


class Messages:
    """A manager's side of the message bus: it puts delegated tasks on queues. ``opened`` connects the manager."""

    def __init__(self, opened: Callable[[], Awaitable[bootstrap.Parts]]) -> None:
        self._opened = opened
        self.redis = RedisBus(self._store, delegate=self._delegate)
        self._joined: MessageBus | None = None
        self._relays: dict[MessageType, Subscription] = {}
        self._answers: Subscription | None = None
        self._unanswered: dict[str, None] = {}

    def join(self, bus: Bus | None) -> Bus:
        """Return the manager's bus: the given one, or that over Redis."""
        if isinstance(bus, MessageBus):
            self._joined = bus
            bus.attach(self._delegate_there, self._listened)
        return self.redis if bus is None else bus

    async def settled(self) -> None:
        """Wait, after the manager has connected, until new subscriptions hear what it does from now on.

        A server that is slow to confirm them holds up nothing for longer than the store's deadline.
        """
        if self._joined is not None:
            for kind in RELAYED.intersection(self._joined.kinds).difference(self._relays):
                self._relay(kind)
        await self.redis.settled()

    async def close(self) -> None:
        """End the bus over Redis; a bus that was given stays and hears no more."""
        self._relays.clear()
        self._answers = None
        await self.redis.close()

    async def _store(self) -> AsyncStore:
        return (await self._opened()).store

    async def _delegate(self, message: Message) -> None:
        """Put the task of a message on its target's queue, where it asks for an answer; a repeated message does not."""
        parts = await self._opened()
        spec = task_spec(message.payload)
        if spec.idempotency_key is None:
            spec = spec.model_copy(update={"idempotency_key": answers.idempotency_key(message)})
        (parcel,) = await run_steps(parts.store, submission.pack(parts.chooser, parts.sender, [spec]))
        parcel = replace(parcel, envelope=replace(parcel.envelope, delegated=answers.asked_by(message)))
        wish = Wish(pool=message.target_pool_id)
        (sent,) = await run_steps(parts.store, submission.send(parts.chooser, parts.sender, [parcel], wish))
        if not sent.new:
            (known,) = await parts.store.run(read_tasks([sent.task_id]))
            if known is not None and known.done:
                await self.redis.publish(answers.answer(message, known))

    async def _delegate_there(self, message: Message) -> None:
        """Do so for the bus inside the process, and give it the answer."""
        if self._answers is None:
            self._answers = self.redis.subscribe(MessageType.RESULT_SHARE, self._answered)
        await self.redis.ready()
        self._unanswered[message.message_id] = None
        if len(self._unanswered) > UNANSWERED_MOST:
            del self._unanswered[next(iter(self._unanswered))]
        try:
            await self._delegate(message)
        except errors.MahavishnuError:
            self._unanswered.pop(message.message_id, None)
            raise

    async def _answered(self, message: Message) -> None:
        asked = message.payload.get("in_reply_to")
        if self._joined is not None and isinstance(asked, str) and asked in self._unanswered:
            del self._unanswered[asked]
            await self._joined.deliver(message)

    def _listened(self, kind: MessageType, wanted: bool) -> None:
        """Take note of a type that is subscribed to on the bus inside the process, or no more."""
        if not wanted and kind in self._relays:
            self._relays.pop(kind).cancel()
        elif wanted and kind in RELAYED and kind not in self._relays and self.redis.connected:
            self._relay(kind)

    def _relay(self, kind: MessageType) -> None:
        assert self._joined is not None
        self._relays[kind] = self.redis.subscribe(kind, self._joined.deliver)

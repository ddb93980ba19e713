"""What a bus hears from the server: one subscription a type and process, its messages read once for all handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from functools import partial

from mahavishnu_pools import errors
from mahavishnu_pools.broker.listener import Channel, Listener
from mahavishnu_pools.bus.subscriptions import Subscriptions
from mahavishnu_pools.redis_url import mask_url
from mahavishnu_pools.schemas.message import MessageType, read_message
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.client import AsyncStore

logger = logging.getLogger(__name__)

#: Digits of a message's number at most.
_DIGITS = 18


def split_frame(data: str) -> tuple[int, list[str]]:
    """Return the number of the last message (0: unknown) and the JSON texts of what came over a channel.

    Ours begin with the number and have a message a line; what others send is one message.
    """
    head, _, rest = data.partition("\n")
    if len(head) <= _DIGITS and head.isascii() and head.isdigit():
        return int(head), rest.split("\n")
    return 0, [data]


class Hearing:
    """Gives messages of the types that are subscribed to to their handlers; ``tally`` counts what it cannot give."""

    def __init__(self, store: AsyncStore, subscriptions: Subscriptions, tally: Counter[str]) -> None:
        self.listener = Listener(store)
        self._tally = tally
        self._store = store
        self._subscriptions = subscriptions
        self._heard: set[MessageType] = set()
        self._last: dict[MessageType, int] = {}
        self._unconfirmed: set[MessageType] = set()
        self._new: set[MessageType] = set()
        self._all_confirmed = asyncio.Event()
        self._all_confirmed.set()
        self._complained = False

    def start(self) -> None:
        """Begin to listen to the types somebody subscribes to."""
        self.listener.start()
        for kind in self._subscriptions.kinds:
            self.adjust(kind)

    async def close(self) -> None:
        """End the connection."""
        await self.listener.close()

    def adjust(self, kind: MessageType) -> None:
        """Listen to a type, or no more, as somebody subscribes to it or nobody does."""
        wanted = kind in self._subscriptions.kinds
        name = keys.key("bus", prefix="", of=kind.value)
        if wanted and kind not in self._heard:
            self._heard.add(kind)
            self._new.add(kind)
            self._wait_for(kind)
            channel = Channel(partial(self._frame, kind), partial(self._confirmed, kind), partial(self._wait_for, kind))
            self.listener.add([name], channel)
        elif not wanted and kind in self._heard:
            self._heard.discard(kind)
            self._last.pop(kind, None)
            self._confirmed(kind)
            self.listener.remove([name])

    async def ready(self) -> None:
        """Wait until the server has confirmed all subscriptions: what is published from then on is heard here, too.

        Raises:
            RedisUnavailable: it did not in time.
        """
        if self._all_confirmed.is_set():
            return
        try:
            async with asyncio.timeout(self._store.timeout):
                await self._all_confirmed.wait()
        except TimeoutError:
            where = mask_url(self._store.url)
            raise errors.RedisUnavailable(
                f"Redis at {where} does not answer: the subscriptions of this message bus are not confirmed. "
                "Nothing was published. Start it, or correct MAHAVISHNU_REDIS_URL.",
                url=where,
            ) from None

    async def settled(self) -> None:
        """Wait until types that were never confirmed are; not for ever, and without an error."""
        if self._new:
            with contextlib.suppress(errors.RedisUnavailable):
                await self.ready()
            self._new.clear()

    def refuse(self, text: str, *, place: str) -> None:
        """Count what came and is no message."""
        self._tally["refused"] += 1
        level = logging.DEBUG if self._complained else logging.WARNING  # others may send any number of them
        self._complained = True
        logger.log(
            level,
            "Dropped %d characters on %s that are no message of this bus; there is a count of them",
            *(len(text), place),
            extra={"action": "refuse_message"},
        )

    def _wait_for(self, kind: MessageType) -> None:
        self._unconfirmed.add(kind)
        self._all_confirmed.clear()

    def _confirmed(self, kind: MessageType) -> None:
        self._unconfirmed.discard(kind)
        self._new.discard(kind)
        if not self._unconfirmed:
            self._all_confirmed.set()

    async def _frame(self, kind: MessageType, data: str) -> None:
        last, texts = split_frame(data)
        if last:
            self._count(kind, last, len(texts))
        for text in texts:
            message = read_message(text)
            if message is None or message.type is not kind:
                self.refuse(text, place=f"the channel of {kind}")
                await asyncio.sleep(0)
            elif self._subscriptions.put(message):
                await asyncio.sleep(0)

    def _count(self, kind: MessageType, last: int, number: int) -> None:
        """Count the messages between the last one that came and these; a server without its data begins anew."""
        before, self._last[kind] = self._last.get(kind), last
        if before is not None and last - number > before:
            missed = last - number - before
            self._tally["missed"] += missed
            logger.warning(
                "Missed %d messages of type %s while the connection was lost", missed, kind, extra={"action": "miss"}
            )

"""Subscribers in a process of their own: ``python -m benchmarks.listening NUMBER MESSAGES``; prints what they lost."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

from mahavishnu_pools import Message, PoolManager

#: Seconds after which messages that have not come are lost.
DEADLINE = 120.0


class Counting:
    """Subscribers that count what they get; ``complete`` when all have got everything."""

    def __init__(self, subscribers: int, messages: int) -> None:
        self.counts = [0] * subscribers
        self._messages = messages
        self._complete = asyncio.Event()

    def handler(self, index: int) -> Callable[[Message], None]:
        """Return the handler of one subscriber."""

        def count(_: Message) -> None:
            self.counts[index] += 1
            if self.counts[index] == self._messages and min(self.counts) == self._messages:
                self._complete.set()

        return count

    async def wait(self) -> int:
        """Wait until all is there, or for the deadline, and return how many messages are missing."""
        try:
            async with asyncio.timeout(DEADLINE):
                await self._complete.wait()
        except TimeoutError:
            print("not all messages came", file=sys.stderr)
        return sum(self._messages - count for count in self.counts)


async def main(subscribers: int, messages: int) -> None:
    """Subscribe, say so, and wait for all messages."""
    manager = PoolManager()
    counting = Counting(subscribers, messages)
    for index in range(subscribers):
        manager.message_bus.subscribe("heartbeat", counting.handler(index))
    await manager.connect()
    print("ready", flush=True)
    lost = await counting.wait()
    print(json.dumps({"lost": lost, "dropped": manager.message_bus.counts().dropped}), flush=True)
    await manager.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))

"""How commands of coroutines are written: in C, as redis-py has it for threads only, and without a task for each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio import Connection
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import TimeoutError as LateRedis


class PackingConnection(Connection):
    """A connection on which scripts with thousands of arguments take the client a fifth of the time."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Write a command. The original runs this in a task of its own to limit its time: two turns of the loop more.

        Raises:
            redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: it could not be written (in time).
        """
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command(_pieces(command))
        except TimeoutError as exc:
            await self.disconnect(nowait=True)
            raise LateRedis("Timeout writing to socket") from exc
        except OSError as exc:
            await self.disconnect(nowait=True)
            raise LostConnection(f"Error while writing to socket: {exc}") from exc
        except BaseException:
            # Half a command may be written: nothing else can follow it.
            await self.disconnect(nowait=True)
            raise

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return a command in Redis's protocol."""
        try:
            packed: list[bytes] = HiredisRespSerializer().pack(*args)
        except UnicodeEncodeError:  # text that is not UTF-8 is written as the connection's ``encoding_errors`` says
            return super().pack_command(*args)
        return packed


def _pieces(command: bytes | str | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(command, str):
        return [command.encode()]
    return [command] if isinstance(command, bytes) else command

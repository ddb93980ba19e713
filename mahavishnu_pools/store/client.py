"""Clients of the store: one for coroutines, one for threads. Who makes one closes it; make it after fork."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from mahavishnu_pools import errors
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.calls import DEAD_LETTER_EXPIRES, OUTBOX, Call, OutboxLimits, script
from mahavishnu_pools.store.cancels import cancel_if_asked, cancels_asked
from mahavishnu_pools.store.options import client_options
from mahavishnu_pools.store.packing import PackingConnection
from mahavishnu_pools.store.sentinel import SCHEME, async_primary_pool, primary_pool
from mahavishnu_pools.store.server import (
    LOST,
    check_server,
    is_lost,
    is_read_only,
    maybe_done,
    policy_async,
    policy_sync,
    told_async,
    told_sync,
    translate,
)

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

T = TypeVar("T")

#: Seconds between two tries while the deadline has not passed.
RETRY_PAUSE = 0.1

#: How long a server that refuses connections is asked again at first, in seconds: it may just be restarting, but
#: somebody waits.
REFUSED_PATIENCE = 0.5


def _script_arguments(prefix: str, call: Call[Any]) -> list[Any]:
    return [0, prefix, *call.arguments]


class AsyncStore:
    """The store for coroutines. ``timeout`` (seconds) is the deadline of every call, connecting included.

    ``connections`` limits the pool; who finds all of them busy waits in line, however long its own process keeps them.
    """

    def __init__(self, url: str, *, namespace: str = "", timeout: float = 5.0, connections: int = 16) -> None:
        self.url = url
        self.namespace = namespace
        self.prefix = keys.namespace_prefix(namespace)
        self.timeout = timeout
        self.dead_letter_expires = DEAD_LETTER_EXPIRES
        self.outbox: OutboxLimits | None = OUTBOX
        pool = _async_pool(url)(
            url,
            max_connections=connections,
            timeout=None,
            retry=_async_no_retry(),  # one inside redis-py would run scripts twice behind our back
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            **client_options(url),
        )
        self.redis: redis.asyncio.Redis = redis.asyncio.Redis.from_pool(pool)

    @classmethod
    def from_settings(cls, settings: Settings, url: str) -> AsyncStore:
        """Make a store for the settings' namespace, deadline and retention of dead letters."""
        store = cls(url, namespace=settings.namespace, timeout=settings.submit_timeout)
        store.dead_letter_expires = settings.dead_letter_expires
        store.outbox = OUTBOX if settings.memory_aggregation_enabled else None
        return store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection of this client."""
        await self.redis.aclose()

    async def check(self, *, patience: float = 0.0) -> None:
        """Make sure that the server can be used; ``patience`` (seconds) is how long a lost connection is tried again.

        Raises:
            RedisUnavailable: it does not answer, refuses the password, is too old, a cluster, or evicts keys.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                async with asyncio.timeout(self.timeout):
                    info = await self.redis.info("server")
                    policy = await policy_async(self.redis)
                return check_server(info, policy, self.url)
            except (RedisError, OSError, TimeoutError) as exc:
                if not is_lost(exc) or time.monotonic() + RETRY_PAUSE >= deadline:
                    raise translate(exc, url=self.url) from exc
            await asyncio.sleep(RETRY_PAUSE)

    async def run(self, call: Call[T]) -> T:
        """Run one call, again after a lost connection until the deadline.

        Raises:
            RedisUnavailable: no answer within the deadline, or the command was refused.
        """
        deadline = time.monotonic() + self.timeout
        cancels = cancels_asked()
        if cancels:
            await asyncio.sleep(0)  # what was asked for and has not come yet comes here, where it cannot be lost
        maybe = False
        while True:
            try:
                answer = await self._once(call)
            except (RedisError, OSError) as exc:
                maybe = maybe or maybe_done(exc)
                if not is_lost(exc) or time.monotonic() + RETRY_PAUSE >= deadline:
                    raise await told_async(exc, self.redis, self.url, maybe=maybe) from exc
                if is_read_only(exc):
                    await self.redis.connection_pool.disconnect()
                await asyncio.sleep(RETRY_PAUSE)
            else:
                cancel_if_asked(cancels)
                return call.parse(answer)
            cancel_if_asked(cancels)

    async def wait_for_entry(self, key: str, *, of: str, after: str, seconds: float) -> None:
        """Wait until a stream has an entry behind ``after``, at most ``seconds`` (less than the store's deadline).

        A lost connection counts as the end of the waiting: the caller looks again and gets the error there.
        """
        name = keys.key(key, prefix=self.prefix, of=of)
        try:
            await self.redis.xread({name: after}, block=int(min(seconds, self.timeout / 2) * 1000), count=1)
        except LOST:
            await asyncio.sleep(RETRY_PAUSE)

    async def _once(self, call: Call[Any]) -> Any:
        known = script(call.script, dead_letter_expires=self.dead_letter_expires, outbox=self.outbox)
        arguments = _script_arguments(self.prefix, call)
        try:
            return await self.redis.execute_command("EVALSHA", known.sha, *arguments)
        except NoScriptError:
            return await self.redis.execute_command("EVAL", known.text, *arguments)


class SyncStore:
    """The store for threads. ``timeout`` (seconds) is the deadline of every call; ``connections`` limits the pool."""

    def __init__(self, url: str, *, namespace: str = "", timeout: float = 5.0, connections: int = 4) -> None:
        self.url = url
        self.namespace = namespace
        self.prefix = keys.namespace_prefix(namespace)
        self.timeout = timeout
        self.dead_letter_expires = DEAD_LETTER_EXPIRES
        self.outbox: OutboxLimits | None = OUTBOX
        make = primary_pool if url.startswith(SCHEME) else redis.BlockingConnectionPool.from_url
        pool = make(
            url,
            max_connections=connections,
            timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            **client_options(url),
        )
        self.redis = redis.Redis(connection_pool=pool)

    @classmethod
    def from_settings(cls, settings: Settings, url: str, *, connections: int = 4) -> SyncStore:
        """Make a store for the settings' namespace, deadline and retention of dead letters."""
        store = cls(url, namespace=settings.namespace, timeout=settings.submit_timeout, connections=connections)
        store.dead_letter_expires = settings.dead_letter_expires
        store.outbox = OUTBOX if settings.memory_aggregation_enabled else None
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection of this client."""
        self.redis.close()
        self.redis.connection_pool.disconnect()

    def check(self) -> None:
        """Make sure that the server can be used; see ``AsyncStore.check``."""
        try:
            info = self.redis.info("server")
            policy = policy_sync(self.redis)
        except (RedisError, OSError) as exc:
            raise translate(exc, url=self.url) from exc
        check_server(info, policy, self.url)

    def run(self, call: Call[T]) -> T:
        """Run one call, again after a lost connection until the deadline; see ``AsyncStore.run``."""
        deadline = time.monotonic() + self.timeout
        maybe = False
        while True:
            try:
                return call.parse(self._once(call))
            except (RedisError, OSError) as exc:
                maybe = maybe or maybe_done(exc)
                if not is_lost(exc) or time.monotonic() + RETRY_PAUSE >= deadline:
                    raise told_sync(exc, self.redis, self.url, maybe=maybe) from exc
                if is_read_only(exc):
                    self.redis.connection_pool.disconnect()
                time.sleep(RETRY_PAUSE)

    def run_many(self, calls: Sequence[Call[T]]) -> list[T | errors.RedisFull]:
        """Run several calls in one round trip; each is atomic by itself. One refused for want of memory says so.

        Raises:
            RedisUnavailable: as in ``run``; any number of the calls may then have been carried out. Repeat them all.
        """
        if len(calls) == 1:
            return [self._run_or_full(calls[0])]
        try:
            replies = self._pipelined(calls)
        except (RedisError, OSError) as exc:
            if not is_lost(exc):
                raise told_sync(exc, self.redis, self.url) from exc
            answers: list[T | errors.RedisFull] = []
            for call in calls:
                answer = self._run_or_full(call)
                answers.append(answer)
            return answers
        return [
            reply if isinstance(reply, errors.RedisFull) else call.parse(reply)
            for call, reply in zip(calls, replies, strict=True)
        ]

    def _run_or_full(self, call: Call[T]) -> T | errors.RedisFull:
        try:
            return self.run(call)
        except errors.RedisFull as exc:
            return exc

    def _pipelined(self, calls: Sequence[Call[Any]]) -> list[Any]:
        pipeline = self.redis.pipeline(transaction=False)
        for call in calls:
            sha = script(call.script, dead_letter_expires=self.dead_letter_expires, outbox=self.outbox).sha
            pipeline.execute_command("EVALSHA", sha, *_script_arguments(self.prefix, call))
        replies = pipeline.execute(raise_on_error=False)
        for index, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                replies[index] = self._once(calls[index])
            elif isinstance(reply, Exception):
                replies[index] = translate(reply, url=self.url)
                if not isinstance(replies[index], errors.RedisFull):
                    raise reply
        return replies

    def _once(self, call: Call[Any]) -> Any:
        known = script(call.script, dead_letter_expires=self.dead_letter_expires, outbox=self.outbox)
        arguments = _script_arguments(self.prefix, call)
        try:
            return self.redis.execute_command("EVALSHA", known.sha, *arguments)
        except NoScriptError:
            return self.redis.execute_command("EVAL", known.text, *arguments)


def _async_pool(url: str) -> Callable[..., Any]:
    if url.startswith(SCHEME):
        return async_primary_pool
    # A URL of TLS or of a socket file names a class of its own, which wins.
    return partial(redis.asyncio.BlockingConnectionPool.from_url, connection_class=PackingConnection)


def _async_no_retry() -> Any:
    from redis.asyncio.retry import Retry as AsyncRetry

    return AsyncRetry(NoBackoff(), 0)

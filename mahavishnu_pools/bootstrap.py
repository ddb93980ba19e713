"""Composition root of a client: finds or starts the server, and makes the parts a manager works with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.broker.listener import Listener
from mahavishnu_pools.broker.signing import Signer
from mahavishnu_pools.broker.waiting import OutcomeWaiter
from mahavishnu_pools.broker.watching import PoolWatch
from mahavishnu_pools.pools.changing import Changer
from mahavishnu_pools.pools.closing import Closer
from mahavishnu_pools.pools.retiring import Retiring
from mahavishnu_pools.pools.spawning import Spawner
from mahavishnu_pools.redis_url import check_url
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.submission import Sender
from mahavishnu_pools.store.client import REFUSED_PATIENCE, AsyncStore

if TYPE_CHECKING:
    from mahavishnu_pools.embedded.private import PrivateStack
    from mahavishnu_pools.settings import Settings


def find_redis_url(settings: Settings) -> str | None:
    """Return the configured Redis URL, else the one of the running local stack, else None.

    Raises:
        InvalidConfig: the configured one has no form that can be read.
    """
    if settings.redis_url is not None:
        return check_url(settings.redis_url.get_secret_value())
    from mahavishnu_pools.embedded.stack import find_redis_url as find_local

    return find_local(settings)


def require_redis_url(settings: Settings) -> str:
    """Return the Redis URL.

    Raises:
        StackNotRunning: none is configured and no local stack is running.
    """
    url = find_redis_url(settings)
    if url is None:
        raise errors.StackNotRunning
    return url


def on_stack(settings: Settings, redis_url: str) -> Settings:
    """Return the settings with the URLs of the local stack's servers, if that is the stack with this Redis."""
    from mahavishnu_pools.embedded.addresses import on_stack as settings_on

    return settings_on(settings, settings.data_dir, redis_url=redis_url)


@dataclass(frozen=True, slots=True)
class Parts:
    """All a connected manager works with. Made by ``connect``; ``close`` ends every connection.

    ``settings`` name the servers of the stack it is connected to.
    """

    settings: Settings
    store: AsyncStore
    listener: Listener
    waiter: OutcomeWaiter
    watch: PoolWatch
    chooser: Chooser
    sender: Sender
    spawner: Spawner
    closer: Closer
    retiring: Retiring
    changer: Changer
    private: PrivateStack | None

    async def close(self) -> None:
        """Close the connections, and stop the private stack if there is one."""
        try:
            await self.waiter.close()
            await self.listener.close()
            await self.store.close()
        finally:
            if self.private is not None:
                await self.private.stop()


async def connect(settings: Settings) -> Parts:
    """Connect to the configured Redis, else the running local stack, else a private stack started for this process.

    Raises:
        RedisUnavailable: the server does not answer, refuses the password or cannot be used.
        StackPartFailed: the private stack does not come up.
        PoolsDisabled: pools are switched off.
    """
    if not settings.pools_enabled:
        raise errors.PoolsDisabled
    url = find_redis_url(settings)
    private = None
    if url is None:
        private = await _private_stack(settings)
        url = private.redis_url
    settings = on_stack(settings, url) if private is None else private.on_stack(settings)
    store = AsyncStore.from_settings(settings, url)
    try:
        await _check(store, settings)
        parts = _assemble(settings, store, private)
    except BaseException:
        try:
            await store.close()
        finally:
            if private is not None:
                await private.stop()
        raise
    parts.listener.start()
    parts.waiter.start()
    return parts


async def _check(store: AsyncStore, settings: Settings) -> None:
    try:
        await store.check(patience=REFUSED_PATIENCE)
    except errors.RedisUnavailable:
        from mahavishnu_pools.embedded.stack import find_redis_url as find_local

        # The local stack starts its server again within seconds; nobody knows that of one somewhere else.
        if find_local(settings.model_copy(update={"redis_url": None})) != store.url:
            raise
        await store.check(patience=settings.submit_timeout)


async def _private_stack(settings: Settings) -> PrivateStack:
    from mahavishnu_pools.embedded.private import PrivateStack

    stack = PrivateStack(settings)
    await stack.start()
    return stack


def _assemble(settings: Settings, store: AsyncStore, private: PrivateStack | None) -> Parts:
    client = secrets.token_hex(8)
    listener = Listener(store)
    watch = PoolWatch(listener)
    closer, chooser = Closer(store, watch, settings), Chooser.from_settings(settings)
    return Parts(
        settings=settings,
        store=store,
        listener=listener,
        waiter=OutcomeWaiter(store, listener, client=client),
        watch=watch,
        chooser=chooser,
        sender=Sender(client, settings.max_payload_bytes, Signer.from_settings(settings)),
        spawner=Spawner(store, watch, closer, settings),
        closer=closer,
        retiring=Retiring(store, watch, closer, chooser, settings),
        changer=Changer(store, watch, settings),
        private=private,
    )


def with_url(settings: Settings, redis_url: str | None) -> Settings:
    """Return the settings with another Redis URL (None: unchanged).

    Raises:
        InvalidConfig: it has no form that can be read.
    """
    if redis_url is None:
        return settings
    return settings.model_copy(update={"redis_url": SecretStr(check_url(redis_url))})

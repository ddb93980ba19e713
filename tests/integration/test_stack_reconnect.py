"""A client that begins while the local stack starts its server again waits for it; one of another server does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import stack
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import kill, process, start
from tests.fixtures.valkey import free_port


async def test_a_client_waits_for_the_stacks_server_to_come_back(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = await asyncio.to_thread(start, settings)
    assert state.supervisor is not None
    os.kill(state.supervisor.pid, signal.SIGSTOP)
    try:
        kill(process(state, "redis"))
        connecting = asyncio.create_task(PoolManager(settings=settings, redis_url=state.redis_url).connect())
        await asyncio.wait({connecting}, timeout=0.3)

        assert not connecting.done()
    finally:
        os.kill(state.supervisor.pid, signal.SIGCONT)

    manager = await connecting
    assert await manager.list_pools() == []
    await manager.close()
    await asyncio.to_thread(stack.stop, settings.data_dir, drain_seconds=5)


async def test_a_configured_server_that_refuses_is_told_at_once(settings: Settings) -> None:
    nobody = settings.model_copy(
        update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0"), "submit_timeout": 100.0}
    )
    began = time.monotonic()

    with pytest.raises(errors.RedisUnavailable, match="does not answer"):
        await PoolManager(settings=nobody).connect()

    assert time.monotonic() - began < nobody.submit_timeout / 2

"""How long commands and managers wait for a server that does not answer."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from mahavishnu_pools import bootstrap, errors
from mahavishnu_pools.cli.pool_reading import read_pools
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.store.client import REFUSED_PATIENCE
from tests.fixtures.valkey import PrivateValkey, free_port

#: Seconds that a server has to answer: a refusal is told much earlier, also on a machine that has much else to do.
PATIENCE = 100


def test_a_refused_connection_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("MAHAVISHNU_SUBMIT_TIMEOUT", str(PATIENCE))
    began = time.monotonic()

    with pytest.raises(errors.RedisUnavailable, match="refused"):
        read_pools(active_only=False, pool_type=None)

    assert time.monotonic() - began < PATIENCE / 2


def test_a_server_that_answers_slowly_has_the_full_time(
    own_valkey_server: PrivateValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", own_valkey_server.url)
    os.kill(own_valkey_server.pid, signal.SIGSTOP)
    later = threading.Timer(2 * REFUSED_PATIENCE, os.kill, [own_valkey_server.pid, signal.SIGCONT])
    later.start()

    try:
        assert read_pools(active_only=False, pool_type=None) == []
    finally:
        later.join()


async def test_a_manager_bears_a_server_that_is_just_being_started(
    own_valkey_server: PrivateValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "REFUSED_PATIENCE", 60.0)
    own_valkey_server.kill()
    later = threading.Timer(0.1, own_valkey_server.start)
    later.start()
    manager = PoolManager(redis_url=own_valkey_server.url)

    try:
        assert await manager.list_pools() == []
    finally:
        await manager.close()
        later.join()

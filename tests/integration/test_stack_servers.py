"""The servers of a stack, as real processes: they come after the core, are restarted and stopped, and are found."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from mahavishnu_pools.embedded import health, stack
from mahavishnu_pools.embedded.addresses import on_stack
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.parts import PARTS, PYTHON, Part
from mahavishnu_pools.embedded.state import PartStatus, StackState, read_state
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import STAND_INS, kill, marked, part, process, start
from tests.waiting import eventually, eventually_async

SERVERS = ("session-buddy", "akosha")


def with_servers() -> tuple[Part, ...]:
    return (*STAND_INS, *(one for one in PARTS if one.name in SERVERS))


def runs(settings: Settings, name: str) -> bool:
    return part(health.examine(settings.data_dir), name).status is PartStatus.RUNNING


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, valkey_binary: Path) -> Iterator[tuple[Settings, StackState]]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("stack") / "data", drain_timeout=5.0)
    state = start(settings, parts=with_servers())
    yield settings, state
    stack.stop(settings.data_dir, drain_seconds=0)


Servers = tuple[Settings, StackState]


@pytest.mark.parametrize("name", SERVERS)
def test_it_answers_on_a_port_of_its_own_and_is_started_again_there_when_it_dies(servers: Servers, name: str) -> None:
    settings, _ = servers
    eventually(lambda: runs(settings, name), within=60)
    before = read_state(settings.data_dir)

    kill(process(before, name))

    eventually(lambda: runs(settings, name) and part(read_state(settings.data_dir), name).restarts > 0, within=60)
    after = read_state(settings.data_dir)
    url = part(after, name).url
    assert url is not None
    assert url == part(before, name).url
    assert process(after, name) != process(before, name)
    with urllib.request.urlopen(url.replace("/mcp", "/health"), timeout=30) as answer:
        assert json.load(answer)["service"] == name


def test_nobody_waits_for_them_and_the_core_does_not_suffer_from_their_start(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    deaf = (PYTHON, "-c", "import time; time.sleep(600)")

    state = start(settings, parts=tuple(one if one.core else replace(one, argv=deaf) for one in with_servers()))

    assert {row.status for row in state.parts if not row.core} <= {PartStatus.WAITING, PartStatus.STARTING}
    found = health.examine(settings.data_dir)
    assert found is not None
    assert health.health_of(found) is health.Health.HEALTHY
    stack.stop(settings.data_dir, drain_seconds=5)
    assert not marked(settings)


def test_the_other_parts_and_clients_are_told_their_urls_and_configured_ones_stay(servers: Servers) -> None:
    settings, state = servers
    assert state.redis_url is not None
    url = part(state, "akosha").url

    told = on_stack(settings, settings.data_dir, redis_url=state.redis_url)
    own = Settings(data_dir=settings.data_dir, akosha_url="http://elsewhere:1/mcp")

    environment = Path(f"/proc/{process(state, 'beat').pid}/environ").read_text().split("\0")
    assert f"MAHAVISHNU_AKOSHA_URL={url}" in environment
    assert told.akosha_url == url
    assert on_stack(own, settings.data_dir, redis_url=state.redis_url).akosha_url == "http://elsewhere:1/mcp"
    assert on_stack(settings, settings.data_dir, redis_url="redis://other") is settings


@pytest.mark.slow
def test_a_stack_taken_over_keeps_its_servers_where_they_are(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    start(settings, parts=with_servers())
    eventually(lambda: runs(settings, "akosha"), within=60)
    before = read_state(settings.data_dir)
    assert before is not None
    kill(before.supervisor)

    start(settings, parts=with_servers())

    eventually(lambda: runs(settings, "akosha"), within=60)
    after = read_state(settings.data_dir)
    assert (process(after, "akosha"), part(after, "akosha").url) == (
        process(before, "akosha"),
        part(before, "akosha").url,
    )
    stack.stop(settings.data_dir, drain_seconds=0)
    assert not is_alive(process(after, "akosha"))


def test_flower_asks_for_its_login_and_the_password_is_in_no_command_line(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(flower_auth=SecretStr("me:a-long-secret"))
    start(settings, parts=(*STAND_INS, *(one for one in PARTS if one.name == "flower")))
    eventually(lambda: runs(settings, "flower"), within=60)
    state = read_state(settings.data_dir)
    url = part(state, "flower").url

    with httpx.Client(base_url=str(url), timeout=30) as http:
        answers = [
            http.get("/workers", auth=auth).status_code for auth in (None, ("me", "wrong"), ("me", "a-long-secret"))
        ]

    assert answers == [401, 401, 200]
    assert "a-long-secret" not in Path(f"/proc/{process(state, 'flower').pid}/cmdline").read_text()


# ── the whole of it, with the real agent ─────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture
async def manager(make_settings: Callable[..., Settings], tmp_path: Path) -> AsyncIterator[PoolManager]:
    """Return a manager of a real stack, found as a user's script finds it, with an AI program that only echoes."""
    programs = tmp_path / "bin"
    programs.mkdir()
    claude = programs / "claude"
    claude.write_text('#!/bin/sh\necho \'{"type":"result","subtype":"success","result":"parsed the parser"}\'\n')
    claude.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        patch.delenv("PYTHONPATH", raising=False)
        settings = make_settings(memory_sync_interval=1.0)
        stack.start(settings, detach=True)
        # They come after the core, in their own time.
        for name in SERVERS:
            await eventually_async(lambda name=name: asyncio.to_thread(runs, settings, name), within=60)
        manager = PoolManager(settings=settings)
        yield manager
        await manager.close()


async def test_memory_and_delegation_work_on_a_stack_without_any_configuration(manager: PoolManager) -> None:
    local = await manager.spawn_pool("mahavishnu", PoolConfig(name="local", worker_type="shell", auto_scale=False))
    done = await manager.execute_on_pool(local, {"prompt": "echo the marmalade is ready"})
    assert done.ok

    remote = await manager.spawn_pool("session-buddy", name="remote")
    delegated = await manager.execute_on_pool(remote, {"prompt": "Parse the parser"})
    assert (delegated.status, delegated.output.strip()) == ("completed", "parsed the parser")

    synced = await manager.sync_memory()
    assert synced["memory_items_pending"] == 0
    async with PoolManager(settings=Settings(data_dir=manager.settings.data_dir)) as another:
        hits = await another.search_memory("marmalade")
    assert "marmalade" in str(hits)
    assert not hits.notes

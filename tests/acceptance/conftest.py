"""A real stack of the tests' own and a stand-in for `qwen` on PATH; configuration finds it as users' programs do."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from mahavishnu_pools import PoolManager, Settings
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.mcp.protocols.message_bus import MessageBus
from mahavishnu_pools.terminal.manager import TerminalManager
from tests.fakes.run_context import install_program

#: What `qwen -o stream-json` printed, with the prompt in the place of the answer.
EVENTS = (
    {"type": "system", "subtype": "init", "session_id": "s1", "model": "stand-in"},
    {
        "type": "result", "subtype": "success", "is_error": False, "duration_ms": 5, "num_turns": 1,
        "result": "Done: @PROMPT@", "usage": {"input_tokens": 3, "output_tokens": 4}, "session_id": "s1",
    },
)  # fmt: skip

#: A prompt `wait for FILE` is done once the file exists; every other at once.
STAND_IN = """\
prompt=$(cat)
case $prompt in "wait for "*) while [ ! -e "${prompt#wait for }" ]; do sleep 0.02; done ;; esac
escaped=$(printf '%s' "$prompt" | tr '\\n' ' ' | sed -e 's/[\\\\"]/\\\\&/g' -e 's/[&|\\\\]/\\\\&/g')
sed -e "s|@PROMPT@|$escaped|" <<'END'
@EVENTS@
END
"""


@pytest.fixture(scope="session")
def stand_in_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH that holds the stand-in and no real AI program before it."""
    script = STAND_IN.replace("@EVENTS@", "\n".join(json.dumps(event) for event in EVENTS))
    return f"{install_program(tmp_path_factory.mktemp('programs'), 'qwen', script)}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def running_stack(stand_in_path: str, valkey_binary: Path) -> Iterator[PrivateStack]:
    """Return a running stack."""
    stack = PrivateStack(Settings(kill_grace=0.5, drain_timeout=1.0, allowed_roots=(Path("/"),)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", stand_in_path)
        asyncio.run(stack.start())
    yield stack
    asyncio.run(stack.stop())


@pytest.fixture(scope="session")
def stack_url(running_stack: PrivateStack) -> str:
    """Return the Redis URL of a running stack."""
    return running_stack.redis_url


@pytest_asyncio.fixture(autouse=True)
async def _configured(
    stack_url: str, stand_in_path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[None]:
    """Configure the stack for the test, which has a directory of its own, and close every pool after it."""
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", stack_url)
    monkeypatch.setenv("PATH", stand_in_path)
    monkeypatch.chdir(tmp_path)
    yield
    cleaner = PoolManager()
    await cleaner.close_all(scope="all")
    await cleaner.close()


@pytest.fixture
def terminal_mgr() -> TerminalManager:
    return TerminalManager.create(None, mcp_client=None)


@pytest_asyncio.fixture
async def pool_mgr(terminal_mgr: TerminalManager) -> AsyncIterator[PoolManager]:
    """Return a manager made as the documents make it."""
    manager = PoolManager(terminal_manager=terminal_mgr, session_buddy_client=None, message_bus=MessageBus())
    yield manager
    await manager.close()

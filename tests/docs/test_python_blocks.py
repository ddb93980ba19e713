"""Every Python block of the documents runs as it stands: here, or in the test of its document that is named here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.settings import Settings
from tests.docs import blocks
from tests.fakes.worker import FakeNode

#: Documents whose blocks need more than a node, and the tests that run them.
ELSEWHERE = {
    "README.md": "test_quick_starts.py",
    "celery.md": "test_extending.py",
    "extending.md": "test_extending.py",
    "message-bus.md": "test_message_bus.py",
    "migration.md": "../acceptance/test_migration_guide.py",
    "pool_type/README.md": "../examples/test_examples.py",
}


def shell(spec: TaskSpec) -> Outcome:
    return Outcome(status="completed", output=str(spec.text).removeprefix("echo ") + "\n", exit_code=0)


def documents() -> list[str]:
    names = [block.document for block in blocks.blocks() if block.language == "python"]
    return [name for name in dict.fromkeys(names) if name not in ELSEWHERE]


def test_the_tests_that_run_the_others_exist() -> None:
    for document, test in ELSEWHERE.items():
        assert document.removesuffix(".md").split("/")[0] in (Path(__file__).parent / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", documents())
async def test_python_blocks_run(
    document: str, quick_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = "http://127.0.0.1:1/mcp"  # whom the examples of memory would deliver to
    given = {"session_buddy_pool_url": nobody, "akosha_url": nobody, "allowed_roots": (tmp_path,)}
    settings = quick_settings.model_copy(update=given)
    for name, value in settings.model_dump(include={"namespace", "redis_url"}).items():
        monkeypatch.setenv(
            f"MAHAVISHNU_{name.upper()}", getattr(value, "get_secret_value", lambda value=value: value)()
        )
    monkeypatch.chdir(tmp_path)
    async with FakeNode(settings, work=shell), PoolManager(settings=settings) as manager, asyncio.timeout(60):
        await manager.spawn_pool(config=PoolConfig(name="build", worker_type="terminal-claude"))
        names: dict[str, Any] = {"__name__": "example", "manager": manager}
        for block in blocks.blocks(document):
            if block.language == "python":
                await blocks.run_python(block, names)

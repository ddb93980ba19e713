"""The examples of docs/message-bus.md run as they stand, one after another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.message import MessageType
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.settings import Settings
from tests.docs import blocks
from tests.fakes.worker import FakeNode


def shell(spec: TaskSpec) -> Outcome:
    return Outcome(status="completed", output=str(spec.text).removeprefix("echo "), exit_code=0)


async def test_the_examples_of_the_message_bus_run(
    quick_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mahavishnu_pools.manager.connection.load_settings", lambda: quick_settings)
    names: dict[str, Any] = {"__name__": "example"}
    async with FakeNode(quick_settings, work=shell), asyncio.timeout(60):
        for block in blocks.blocks("message-bus.md"):
            assert block.language == "python"
            await blocks.run_python(block, names)
        manager = names["manager"]
        assert isinstance(manager, PoolManager)
        await manager.close()

    assert names["counts"].published == 1002
    assert names["msg"].source_pool_id == "pool_abc"
    assert f"{names['result'].task_id} of {names['pool_id']}: completed\n" in capsys.readouterr().out
    assert names["reply"].payload["result"]["output"] == "delegated"


def test_every_type_is_in_the_table() -> None:
    text = (blocks.ROOT / "docs" / "message-bus.md").read_text(encoding="utf-8")
    table = text.partition("| type |")[2].partition("\n\n")[0]

    assert [kind.value for kind in MessageType if f"`{kind.value}`" not in table] == []

"""The server as a part of the local stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from mahavishnu_pools.cli import mcp
from mahavishnu_pools.embedded import health, stack
from mahavishnu_pools.embedded.parts import PARTS
from mahavishnu_pools.embedded.state import PartStatus, StackState, read_state
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import STAND_INS, part, start
from tests.waiting import eventually, eventually_async


def up(settings: Settings) -> StackState | None:
    start(settings, parts=(*STAND_INS, *(one for one in PARTS if one.name == "server")))
    eventually(
        lambda: part(health.examine(settings.data_dir), "server").status,
        until=lambda s: s is PartStatus.RUNNING,
        within=60,
    )
    return read_state(settings.data_dir)


async def test_the_stack_s_server_serves_that_stack_and_is_found_by_its_name(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "server.token"
    file.write_text("new\nold\n")
    settings = make_settings(server_port=0, server_token=SecretStr(f"@{file}"))
    url = str(part(up(settings), "server").url)
    with_name, token = mcp.server_of("mahavishnu", settings)

    assert (with_name, token) == (url, "new")
    async with McpClient(url, token=token) as client:
        told = await eventually_async(lambda: client.call("pool_list", {}), until=lambda a: not a.failed, within=30)
        assert told.value == {"total": 0, "pools": []}
    stack.stop(settings.data_dir, drain_seconds=0)


def test_a_stack_can_do_without_the_server(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(server="off")
    state = start(settings, parts=(*STAND_INS, *(one for one in PARTS if one.name == "server")))

    assert state.part("server") is None

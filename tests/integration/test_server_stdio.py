"""The server as a process of its own: over standard input and output, and with the command that calls tools."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mahavishnu_pools.cli import main as cli
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode
from tests.fixtures.warm import MAHAVISHNU, Program

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "mcp"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture
def variables(quick_settings: Settings) -> dict[str, str]:
    assert quick_settings.redis_url is not None
    ours = {
        "MAHAVISHNU_REDIS_URL": quick_settings.redis_url.get_secret_value(),
        "MAHAVISHNU_NAMESPACE": quick_settings.namespace,
        "MAHAVISHNU_DATA_DIR": str(quick_settings.data_dir),
    }
    return {**os.environ, **ours}


@pytest.fixture
def talking(variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    command = [*MAHAVISHNU, "server", "--stdio"]
    with Program(command, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


def say(process: subprocess.Popen[str], message: object) -> None:
    assert process.stdin is not None
    process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    found: dict[str, object] = json.loads(process.stdout.readline())
    return found


async def test_the_example_runs_a_task_with_the_official_client(variables: dict[str, str], node: FakeNode) -> None:
    # It starts the server by its name, as assistants do.
    path = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "client.py")),
        env={**variables, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, trouble = await asyncio.wait_for(example.communicate(), 90)

    assert example.returncode == 0, trouble.decode()
    assert '{"command": "echo hello"}' in said.decode()
    assert "from-mcp" in said.decode().splitlines()[-1]


def test_the_example_configurations_start_the_server_by_commands_that_exist() -> None:
    own = json.loads((EXAMPLES / "mcp.json").read_text())["mcpServers"]["mahavishnu"]
    remote = json.loads((EXAMPLES / "mcp-http.json").read_text())["mcpServers"]["mahavishnu"]

    assert (own["command"], own["args"]) == ("mahavishnu", ["server", "--stdio"])
    assert remote["url"] == f"http://127.0.0.1:{Settings().server_port}/mcp"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_runs_a_task_over_standard_input(
    variables: dict[str, str], node: FakeNode, manager: PoolManager, mode: str
) -> None:
    await manager.spawn_pool("mahavishnu", name="local", worker_type="shell")
    server = StdioServerParameters(command=MAHAVISHNU[0], args=[*MAHAVISHNU[1:], "server", "--stdio"], env=variables)
    async with Client(stdio_client(server), mode=mode) as client:
        tools = await client.list_tools()
        answer = await client.call_tool("pool_execute", {"pool_id": "local", "prompt": "over a pipe"})

    assert {"pool_spawn", "pool_task", "worker_execute"} <= {tool.name for tool in tools.tools}
    assert answer.structured_content["output"] == "over a pipe"


def test_a_signal_ends_it_while_it_waits_for_input(talking: subprocess.Popen[str]) -> None:
    say(talking, HELLO)
    assert heard(talking)["id"] == 1
    talking.send_signal(signal.SIGTERM)

    assert talking.wait(30) == 0


def test_lines_that_are_no_messages_or_too_long_are_survived_and_the_end_of_the_input_ends_it(
    talking: subprocess.Popen[str],
) -> None:
    for line in ("rubbish", "[]", '{"jsonrpc": "2.0"}', '"' + "y" * (9 * 1024 * 1024) + '"'):
        say(talking, line)
    say(talking, HELLO)
    found = heard(talking)
    while found.get("id") != 1:
        found = heard(talking)
    assert talking.stdin is not None
    talking.stdin.close()

    assert "result" in found
    assert talking.wait(30) == 0


def test_the_command_calls_tools_with_arguments_as_their_schema_wants_them(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*MAHAVISHNU, "server", "--port", "0"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        def mcp(*arguments: str) -> tuple[int, str, str]:
            code = cli.run(["mcp", *arguments], session=Session())
            said = capsys.readouterr()
            return code, said.out, said.err

        try:
            listed = mcp("tools", url)
            pools = mcp("call", "--format", "json", url, "pool_list", "--active-only")
            closed = mcp("call", url, "pool_close_all", "--confirm=true")
            refused = mcp("call", url, "pool_scale", "--pool_id", "nope", "--target-workers", "3")
            wrong = mcp("call", url, "pool_scale", "--target_workers", "many")
            unknown = mcp("call", url, "pool_scale", "--size", "3")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert "pool_route_execute" in listed[1]
    assert json.loads(pools[1]) == {"total": 0, "pools": []}
    assert "Closed 0 pools" in closed[1]
    assert refused[:2] == (1, "")
    assert "No pool has the id or name 'nope'" in refused[2]
    assert (wrong[0], unknown[0]) == (2, 2)
    assert "'many' is none of: integer" in wrong[2]
    assert "It has: pool_id*, target_workers*, max_workers." in unknown[2]

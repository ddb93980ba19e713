"""Whatever is sent to the server, it answers, and not with an error of its own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from mahavishnu_pools.mcp_tools import input_schema
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.running import tools
from mahavishnu_pools.server.waiting import Waiting
from mahavishnu_pools.settings import Settings
from tests.fixtures.valkey import PrivateValkey
from tests.fuzz.material import dumped, fuzz, texts, values

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

METHODS = ["initialize", "tools/list", "tools/call", "ping", "notifications/cancelled", "server/discover", "nope", ""]

BOUNDED = limits(fuzz, max_examples=40)


@pytest.fixture(scope="module")
def arguments() -> dict[str, list[str]]:
    """Return the names of the arguments of each tool."""
    import asyncio

    made = tools(Pools(Settings()), Waiting(asyncio.Event()))
    return {tool.name: list(input_schema(tool)["properties"]) for tool in made}


@pytest.fixture(scope="module")
def server(valkey_server: PrivateValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server without pools and nodes; in the end it must have had no trouble of its own."""
    directory: Path = tmp_path_factory.mktemp("fuzzed")
    ours = {
        "MAHAVISHNU_REDIS_URL": valkey_server.url,
        "MAHAVISHNU_NAMESPACE": f"f{secrets.token_hex(6)}",
        "MAHAVISHNU_DATA_DIR": str(directory),
        "MAHAVISHNU_SPAWN_TIMEOUT": "0.2",
    }
    command = [sys.executable, "-m", "mahavishnu_pools.cli.main", "server", "--port", "0"]
    log = directory / "server.log"
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, env={**os.environ, **ours}, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def session(server: str, client: httpx.Client) -> dict[str, str]:
    """Return the headers of a session that was opened."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    answer = client.post(server, json=body, headers=HEADERS)
    return {**HEADERS, "Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}


@BOUNDED
@given(body=st.binary(max_size=200) | values.map(lambda value: dumped(value).encode()), newest=st.booleans())
def test_bodies_that_are_no_messages_are_refused(
    server: str, client: httpx.Client, session: dict[str, str], body: bytes, newest: bool
) -> None:
    headers = {**HEADERS, "MCP-Protocol-Version": "2026-07-28"} if newest else session

    assert client.post(server, content=body, headers=headers).status_code < 500


@BOUNDED
@given(
    message=st.fixed_dictionaries(
        {"jsonrpc": st.sampled_from(["2.0", "1.0"])},
        optional={"id": values, "method": st.sampled_from(METHODS) | texts, "params": values},
    ),
    header=st.sampled_from(["2025-06-18", "2026-07-28", "1999-01-01", ""]),
    known=st.booleans(),
)
def test_messages_with_odd_parts_are_answered_or_refused(
    server: str, client: httpx.Client, session: dict[str, str], message: dict[str, Any], header: str, known: bool
) -> None:
    headers = {**(session if known else HEADERS), "MCP-Protocol-Version": header}

    assert client.post(server, content=dumped(message), headers=headers).status_code < 500


@limits(BOUNDED, max_examples=100)
@given(data=st.data())
def test_tools_answer_any_arguments_and_never_fail_inside(
    server: str, client: httpx.Client, session: dict[str, str], arguments: dict[str, list[str]], data: st.DataObject
) -> None:
    tool = data.draw(st.sampled_from(sorted(arguments)))
    names = st.sampled_from(arguments[tool]) if arguments[tool] else texts
    likely = st.sampled_from(
        ["pool_0123456789ab", "default", "random", 1, 0, True, ["a"], {"items": ["a"]}, {"a": "b"}]
    )
    chosen = data.draw(st.dictionaries(names | texts, likely | values, max_size=6))
    call = {"name": tool, "arguments": chosen}
    body = dumped({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    answer = client.post(server, content=body, headers=session)

    assert answer.status_code < 500
    assert "failed in the server" not in answer.text

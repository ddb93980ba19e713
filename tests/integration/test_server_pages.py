"""The server over HTTP: tokens, web pages, sizes, health and metrics; and what it does while Redis is away."""

from __future__ import annotations

import json
import socket

import httpx
import pytest
from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.server.running import run, tokens_of
from mahavishnu_pools.settings import Settings
from tests.fixtures.served import serving
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually_async

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def post(url: str, body: object = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, content=content, headers={**HEADERS, **headers})


async def get(url: str, page: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url.removesuffix("/mcp") + page, headers=headers)


async def test_health_readiness_and_metrics_are_open(quick_settings: Settings) -> None:
    async with serving(quick_settings, tokens=("t",)) as url:
        health, ready, metrics = [await get(url, page) for page in ("/health", "/ready", "/metrics")]

    assert health.json()["service"] == "mahavishnu"
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert metrics.status_code == 200
    assert "mahavishnu_pools_redis_up 1" in metrics.text


async def test_the_old_and_the_new_token_open_the_tools_and_metrics_have_their_own(quick_settings: Settings) -> None:
    settings = quick_settings.model_copy(update={"metrics_token": SecretStr("reader")})
    async with serving(settings, tokens=tokens_of(SecretStr("new, old"))) as url:
        for token in ("new", "old"):
            async with McpClient(url, token=token) as client:
                assert not (await client.call("pool_list", {})).failed
        for token in (None, "reader", "ne", "new,old"):
            async with McpClient(url, token=token) as client:
                with pytest.raises(errors.RemoteRefused, match="token"):
                    await client.call("pool_list", {})
        readers = ("reader", "new", "x")
        told = [(await get(url, "/metrics", Authorization=f"Bearer {name}")).status_code for name in readers]

    assert told == [200, 200, 401]


async def test_web_pages_of_others_are_refused_and_own_ones_need_the_token(quick_settings: Settings) -> None:
    async with serving(quick_settings, tokens=("t",)) as url:
        own = url.removesuffix("/mcp")
        token = {"Authorization": "Bearer t"}
        answers = [
            await post(url, Origin="https://evil.example", **token),
            await post(url, Origin="http://127.0.0.1:1", **token),
            await post(url, Origin="null", **token),
            await post(url, Origin=own),
            await post(url, Origin=own, **token),
        ]
    async with serving(quick_settings) as url:
        answers.append(await post(url, Origin=url.removesuffix("/mcp")))

    # The one that is let in says nothing the server understands.
    assert [answer.status_code for answer in answers] == [403, 403, 403, 401, 400, 403]


async def test_an_address_for_everybody_needs_a_token(quick_settings: Settings) -> None:
    with pytest.raises(errors.InvalidField, match="there is no token"):
        await run(quick_settings, host="0.0.0.0", port=0)


async def test_a_request_that_is_too_large_is_refused(quick_settings: Settings) -> None:
    async with serving(quick_settings) as url:
        answer = await post(url, b'{"x": "' + b"y" * (9 * 1024 * 1024) + b'"}')

    assert answer.status_code == 413


async def test_while_redis_is_away_calls_are_refused_with_a_sentence_and_work_again_afterwards(
    quick_settings: Settings, own_valkey_server: PrivateValkey
) -> None:
    settings = quick_settings.model_copy(update={"redis_url": SecretStr(own_valkey_server.url), "submit_timeout": 1.0})
    async with serving(settings) as url, McpClient(url, timeout=60) as client:
        assert not (await client.call("pool_list", {})).failed
        own_valkey_server.kill()
        away = await client.call("pool_list", {})
        health, ready = await get(url, "/health"), await get(url, "/ready")
        own_valkey_server.start()
        await eventually_async(lambda: client.call("pool_list", {}), until=lambda answer: not answer.failed, within=30)
        again = await get(url, "/ready")

    assert away.failed
    assert away.value["error"]["code"] == "redis_unavailable"  # type: ignore[index, call-overload]
    assert (health.status_code, ready.status_code, again.status_code) == (200, 503, 200)
    assert "reason" in ready.json()


async def test_without_a_stack_the_server_starts_and_says_how_to_start_one(quick_settings: Settings) -> None:
    settings = quick_settings.model_copy(update={"redis_url": None})
    async with serving(settings) as url, McpClient(url) as client:
        answer = await client.call("pool_list", {})
        ready, metrics = await get(url, "/ready"), await get(url, "/metrics")

    assert "Start one with 'mahavishnu up'" in answer.text
    assert (ready.status_code, metrics.status_code) == (503, 503)


async def test_a_port_in_use_is_named(quick_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.InvalidField, match=f"127.0.0.1:{port} cannot be listened on"):
            await run(quick_settings, port=port)

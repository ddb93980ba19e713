"""Arguments of tools, as they are written on the command line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.cli import mcp, tool_help
from mahavishnu_pools.cli.formats.interface import Table
from mahavishnu_pools.settings import Settings

SCHEMA = {
    "properties": {
        "pool_id": {"type": "string"},
        "limit": {"type": "integer"},
        "timeout": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "wait": {"type": "boolean"},
        "tags": {"anyOf": [{"items": {"type": "string"}, "type": "array"}, {"type": "null"}]},
        "payload": {"type": "object"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "anything": {},
    },
    "required": ["pool_id"],
}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--pool_id 7", {"pool_id": "7"}),
        ("--pool-id=a=b", {"pool_id": "a=b"}),
        ("--limit 3 --timeout 2.5", {"limit": 3, "timeout": 2.5}),
        ("--timeout 30", {"timeout": 30}),
        ("--wait --limit 3", {"wait": True, "limit": 3}),
        ("--wait false", {"wait": False}),
        ('--tags ["a","b"]', {"tags": ["a", "b"]}),
        ('--payload {"command":"x"}', {"payload": {"command": "x"}}),
        ("--note true", {"note": "true"}),
        ("--note null", {"note": None}),
        ("--anything text", {"anything": "text"}),
        ("--anything 5", {"anything": 5}),
        ("--note -5", {"note": "-5"}),
    ],
)
def test_values_become_what_the_schema_wants(words: str, meant: dict[str, Any]) -> None:
    assert mcp.parsed(words.split(" "), SCHEMA, tool="t") == meant


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pool", "'pool': is no argument of the tool. Write --NAME VALUE."),
        ("--pool_di x", "--pool_di: is no argument of t. Did you mean 'pool_id'? It has: pool_id*, limit, timeout"),
        ("--limit", "--limit: has no value. Write --limit VALUE."),
        ("--limit x", "--limit: 'x' is none of: integer. Write it as JSON."),
        ("--limit true", "--limit: 'true' is none of: integer."),
        ("--payload []", "--payload: '[]' is none of: object."),
    ],
)
def test_what_does_not_fit_is_told(words: str, said: str) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        mcp.parsed(words.split(" "), SCHEMA, tool="t")

    assert caught.value.message.startswith(said)


def test_servers_are_named_or_given_as_urls(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    configured = settings.model_copy(update={"server_token": SecretStr("new, old"), "server_port": 9})
    monkeypatch.setattr(mcp, "settings_in_force", lambda: configured)

    assert mcp.address("https://example.org/mcp", None) == ("https://example.org/mcp", None)
    assert mcp.address("mahavishnu", None) == ("http://127.0.0.1:9/mcp", "new")
    assert mcp.address("akosha", None)[0] == "http://localhost:8682/mcp"
    with pytest.raises(errors.UnknownChoice, match="a URL, akosha, mahavishnu, session-buddy"):
        mcp.address("elsewhere", None)


def test_the_help_of_a_tool_tells_each_parameter() -> None:
    schema = {
        "$defs": {"Way": {"enum": ["fast", "cheap"], "type": "string"}},
        "properties": {
            "pool_id": {"type": "string", "description": "Id or\n name."},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 5},
            "way": {"$ref": "#/$defs/Way", "default": "fast"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        },
        "required": ["pool_id"],
    }

    document = tool_help.parameters("pool_close", schema)

    (table,) = [block for block in document.blocks if isinstance(block, Table)]
    assert table.rows == (
        ("--pool_id*", "string", None, "Id or name."),
        ("--limit", "integer", "5", None),
        ("--way", "fast | cheap", "fast", None),
        ("--tags", "list of string", "[]", None),
    )
    assert document.data == {"tool": "pool_close", "arguments": schema}


@pytest.mark.parametrize(
    ("words", "asked"),
    [("--help", True), ("-h", True), ("--limit 3 --help", True), ("--note -h", False), ("--note=--help", False)],
)
def test_help_is_asked_for_behind_the_tool(words: str, asked: bool) -> None:
    assert tool_help.is_asked_for(words.split(" "), SCHEMA) is asked
    assert not tool_help.is_asked_for(["--help", "x"], {"properties": {"help": {"type": "string"}}})

"""What the memory makes of settings, servers and outputs that are not as they should be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.memory.aggregator import MemoryAggregator
from mahavishnu_pools.memory.index import MemoryIndex
from mahavishnu_pools.memory.records import MASK, masked
from mahavishnu_pools.memory.search import search_all
from mahavishnu_pools.memory.sinks.session_buddy import SessionBuddySink


class _Rubbish:
    """A server whose search answers with these hits."""

    def __init__(self, hits: object) -> None:
        self.hits = hits

    async def tools(self) -> Mapping[str, Mapping[str, Any]]:
        return {"search_memory": {}}

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> ToolAnswer:
        return ToolAnswer(text="", value={"results": self.hits}, failed=False)  # type: ignore[dict-item]


@pytest.mark.parametrize("hit", [{"metadata": "x"}, {"metadata": [1]}, {"memory_id": ["a"]}, {"content": None}])
async def test_a_hit_that_is_none_is_no_end_of_the_search(tmp_path: Path, hit: dict[str, Any]) -> None:
    index = MemoryIndex(tmp_path / "memory.db")
    sink = SessionBuddySink(_Rubbish([{"content": "parser", **hit}, {"memory_id": "good", "content": "parser"}]))

    hits = await search_all(index, [sink], "parser", limit=10)

    index.close()
    assert [(one["memory_id"], one["metadata"]) for one in hits] == [(None, {}), ("good", {})]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5"])
def test_an_interval_that_would_sync_without_a_pause_is_refused(seconds: Any) -> None:
    with pytest.raises(errors.InvalidField, match="sync_interval"):
        MemoryAggregator(sync_interval=seconds)


@pytest.mark.parametrize("text", ["eyJ-" * 6000, "eyJ-" * 250 + "." + "eyJ-" * 5000, "token " * 4000, "://a:" * 5000])
def test_no_output_makes_the_search_for_secrets_long(text: str) -> None:
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 2.0


def test_a_json_web_token_is_masked() -> None:
    head, body, mark = "eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0" * 100, "dozjgNryP4J3jVmNHl0w5N"

    assert masked(f"it is {head}.{body}.{mark} here") == f"it is {MASK} here"

"""How long memories are kept, by the embedded servers and in this machine's index; and who may read them there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.main import main
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.memory.aggregator import MemoryAggregator
from mahavishnu_pools.memory.index import MemoryIndex
from mahavishnu_pools.memory.retention import prune_when_due
from mahavishnu_pools.memory.search import index_of
from mahavishnu_pools.schemas.memory import MemoryRecord
from mahavishnu_pools.settings import Settings
from tests.fixtures.warm import MAHAVISHNU, Program
from tests.waiting import eventually

NOW = datetime.now(UTC)

FILES = {"session-buddy": "session-buddy/memory.db", "akosha": "akosha/memory.sqlite3"}


def fill(index: MemoryIndex, *ages: float) -> None:
    """Put records in that are so many days old."""
    index.put(
        MemoryRecord(memory_id=f"{age:g}", content="text", timestamp=NOW - timedelta(days=age), metadata={})
        for age in ages
    )


def ages(index: MemoryIndex) -> list[str]:
    return [hit.memory_id for hit in index.search("")]


@contextmanager
def serving(program: str, directory: Path, *arguments: str) -> Iterator[str]:
    """Start an embedded server and give its URL."""
    command = [*MAHAVISHNU, program, "--port", "0", "--data-dir", str(directory)]
    with Program([*command, *arguments], stdout=subprocess.PIPE, text=True, cwd=directory) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_what_is_too_old_is_deleted_once_a_day(tmp_path: Path) -> None:
    index = MemoryIndex(tmp_path / "memory.db")
    fill(index, 0.5, 29.5, 30.5, 400)

    assert prune_when_due(index, 0, now=NOW) == 0
    assert prune_when_due(index, 30, now=NOW) == 2
    fill(index, 31)
    assert prune_when_due(index, 30, now=NOW + timedelta(hours=23)) == 0
    assert prune_when_due(index, 30, now=NOW + timedelta(hours=24)) == 2
    assert ages(index) == ["0.5"]
    index.close()


@pytest.mark.parametrize("program", ["session-buddy", "akosha"])
def test_the_servers_delete_what_is_too_old(tmp_path: Path, program: str) -> None:
    index = MemoryIndex(tmp_path / FILES[program])
    fill(index, 1, 29, 31)

    with serving(program, tmp_path, "--keep-days", "30"):
        eventually(lambda: ages(index), until=lambda found: found == ["1", "29"], within=30)
    index.close()


async def test_the_search_deletes_what_is_too_old_from_the_index_of_this_machine(
    manager: PoolManager, settings: Settings
) -> None:
    index = index_of(settings)
    fill(index, 1, 399, 401)

    found = await MemoryAggregator().cross_pool_search("text", manager)

    assert [hit["memory_id"] for hit in found] == ["1", "399"]
    index.close()


async def test_akosha_takes_its_token_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-long-secret\n")

    with serving("akosha", tmp_path, "--token-file", str(tmp_path / "token")) as url:
        async with McpClient(url) as stranger, McpClient(url, token="a-long-secret") as friend:
            with pytest.raises(errors.RemoteRefused, match="Check the token"):
                await stranger.tools()
            assert "find_patterns" in await friend.tools()


def test_an_empty_token_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("\n")

    assert main(["akosha", "--port", "0", "--token-file", str(tmp_path / "empty")]) == 2
    assert "token-file: is empty" in capsys.readouterr().err

"""The memory index: what is found, who may share it, and what a killed writer leaves."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.memory.index import Filters, MemoryIndex
from mahavishnu_pools.schemas.memory import MemoryRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Writes records 0, 1, 2, … named <prefix><i> in batches, and tells after each batch how many are stored.
WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mahavishnu_pools.memory.index import MemoryIndex
from mahavishnu_pools.schemas.memory import MemoryRecord

path, prefix, first, last, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
index = MemoryIndex(Path(path))
new = 0
for start in range(first, last, size):
    batch = range(start, min(start + size, last))
    now = datetime.now(UTC)
    records = [MemoryRecord(memory_id=f"{prefix}{i}", content=f"record number {i}", timestamp=now) for i in batch]
    new += index.put(records, cursor=("writer", str(batch.stop)))
    print(batch.stop, new, flush=True)
"""


def record(memory_id: str, content: str = "text", *, after: float = 0.0, **metadata: object) -> MemoryRecord:
    values = {"memory_id": memory_id, "content": content, "timestamp": NOON + timedelta(seconds=after)}
    return MemoryRecord.model_validate({**values, "metadata": metadata})


def ids(index: MemoryIndex, query: str, **filters: object) -> list[str]:
    return [hit.memory_id for hit in index.search(query, filters=Filters.model_validate(filters))]


def writer(path: Path, prefix: str, first: int, last: int, size: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), prefix, str(first), str(last), str(size)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def consistent(path: Path) -> bool:
    """Tell whether SQLite finds the file whole, and each record as often in the index of words."""
    with sqlite3.connect(path) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        records = connection.execute("SELECT count(*) FROM record").fetchone()
        words = connection.execute("SELECT count(*) FROM record_text WHERE record_text MATCH 'record'").fetchone()
    connection.close()
    return bool(whole and records == words)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[MemoryIndex]:
    made = MemoryIndex(tmp_path / "deep" / "memory.db")
    yield made
    made.close()


def test_a_record_is_stored_once_per_id_and_comes_back_as_it_was(index: MemoryIndex) -> None:
    first = record("a", "Überprüfe the parser\nline two", pool_id="p1", nested={"x": [1, None]}, after=0.000123)

    assert index.put([first, first]) == 1
    assert index.put([record("a", "another text")]) == 0

    [hit] = index.search("uberprufe")
    assert (hit.content, hit.metadata, hit.timestamp) == (first.content, first.metadata, first.timestamp)
    assert index.count() == 1


def test_words_phrases_and_prefixes_are_found(index: MemoryIndex) -> None:
    index.put(
        [record("a", "fix the parser of tables"), record("b", "the tables of the parser"), record("c", "nothing")]
    )

    assert sorted(ids(index, "PARSER tables")) == ["a", "b"]
    assert ids(index, '"parser of tables"') == ["a"]
    assert sorted(ids(index, "pars*")) == ["a", "b"]
    assert ids(index, "pars") == []
    assert ids(index, "parser none") == []


def test_better_matches_come_first_and_newer_ones_among_equals(index: MemoryIndex) -> None:
    index.put(
        [
            record("long", "needle " + "hay " * 50, after=9),
            record("old", "needle", after=1),
            record("new", "needle", after=2),
            *(record(f"other{i}", "straw") for i in range(5)),
        ]
    )

    hits = index.search("needle")

    assert [hit.memory_id for hit in hits] == ["new", "old", "long"]
    assert hits[0].score == hits[1].score > hits[2].score > 0


def test_filters_narrow_by_pool_type_status_task_metadata_and_time(index: MemoryIndex) -> None:
    index.put(
        [
            record("a", pool_id="p1", pool_type="mahavishnu", status="completed", task_id="t1", repo="x", after=0),
            record("b", pool_id="p1", pool_type="mahavishnu", status="failed", task_id="t2", exit_code=1, after=10),
            record("c", pool_id="p2", pool_type="session-buddy", status="failed", task_id="t3", after=20),
        ]
    )

    assert ids(index, "", pool_id="p1") == ["b", "a"]
    assert ids(index, "text", pool_type="session-buddy") == ["c"]
    assert ids(index, "text", status="failed", pool_id="p1") == ["b"]
    assert ids(index, "", task_id="t1") == ["a"]
    assert ids(index, "", metadata={"exit_code": 1}) == ["b"]
    assert ids(index, "", metadata={"exit_code": "1"}) == []
    assert ids(index, "", since=NOON + timedelta(seconds=10)) == ["c", "b"]
    assert ids(index, "text", until=NOON + timedelta(seconds=10)) == ["a"]
    assert ids(index, "", since=NOON, until=NOON + timedelta(milliseconds=0.001)) == ["a"]


def test_an_empty_query_finds_the_newest(index: MemoryIndex) -> None:
    index.put([record(str(i), after=i % 7) for i in range(20)])

    assert [hit.memory_id for hit in index.search("  ", limit=3)] == ["13", "6", "19"]


@pytest.mark.parametrize(
    "query",
    [
        '"', '"""', "*", "**", "NEAR(", "NEAR(a b, 2)", "a AND", "OR", "NOT a", "a -b", "content:a", "^a", "(a",
        "{a b}: c", "a + b", "a\0b", "\ud800", "'; DROP TABLE record; --", "%", "\\", "marks : m", "a" * 100_000,
        "a " * 10_000, '"' * 501, "a*" * 2000, "\ua7cf", "\U0001e900 \U0001d4b3 \U0001f984", "\u0301", "\ufeff",
        "\u0661\u0662", "\xbd \xb2", "\u203f", "\ue000", "\U00011f04",
    ],
)  # fmt: skip
def test_no_query_is_an_error(index: MemoryIndex, query: str) -> None:
    index.put([record("a", "something else altogether")])

    assert ids(index, query) == []


@pytest.mark.parametrize(
    "query", ["AND", 'say "parser', "parser -", "(parser)", "key:value", "it's", "a-b", 'par* "', "NOT"]
)
def test_syntax_characters_are_plain_text(index: MemoryIndex, query: str) -> None:
    index.put([record("a", "say NOT and AND: the (parser) has key:value, it's a-b")])

    assert ids(index, query) == ["a"]


def test_texts_that_sqlite_cannot_hold_are_stored_all_the_same(index: MemoryIndex) -> None:
    odd = MemoryRecord.model_construct(memory_id="x\0y", content="be\0fore \ud800 after", timestamp=NOON, metadata={})

    assert index.put([odd]) == 1
    assert index.put([odd]) == 0
    assert len(ids(index, "after")) == 1


def test_many_records_of_one_moment_keep_their_times(index: MemoryIndex) -> None:
    index.put([record(str(i)) for i in range(9000)])

    assert len(index.search("", limit=10_000, filters=Filters(since=NOON, until=NOON + timedelta(seconds=1)))) == 9000
    assert ids(index, "", since=NOON + timedelta(microseconds=1)) == []


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_any_date_can_be_stored_found_and_pruned(index: MemoryIndex, year: int) -> None:
    when = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    index.put([MemoryRecord(memory_id="a", content="text", timestamp=when)])

    assert ids(index, "text", since=when) == ["a"]
    assert ids(index, "text", until=when) == []
    assert index.prune(when) == 0


def test_pruning_deletes_what_is_older_from_records_and_words(index: MemoryIndex) -> None:
    index.put([record(str(i), f"text w{i}", after=i, pool_id="p") for i in range(1200)])

    assert index.prune(NOON + timedelta(seconds=1100)) == 1100

    assert index.count() == 100
    assert ids(index, "w1099") == []
    assert ids(index, "w1100", pool_id="p") == ["1100"]
    assert index.put([record("0", "text w0", after=0)]) == 1


def test_the_cursor_is_written_with_the_records_or_not_at_all(index: MemoryIndex) -> None:
    index.put([record("a")], cursor=("outbox", "5-0"))
    broken = MemoryRecord.model_construct(memory_id="b", content="", timestamp=NOON, metadata={"x": object()})

    with pytest.raises(TypeError):
        index.put([record("c"), broken], cursor=("outbox", "6-0"))

    assert index.cursor("outbox") == "5-0"
    assert index.cursor("other") is None
    assert index.count() == 1


def test_a_limit_below_one_is_refused(index: MemoryIndex) -> None:
    with pytest.raises(errors.InvalidField, match="limit"):
        index.search("a", limit=0)


def test_it_is_opened_again_after_close(index: MemoryIndex) -> None:
    index.put([record("a")])
    index.close()
    index.close()

    assert index.count() == 1


def test_a_file_that_is_no_database_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"this is no database" * 1000)

    with pytest.raises(errors.Unavailable, match=r"memory\.db cannot be used: .*move the file away"):
        MemoryIndex(path).count()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(errors.Unavailable, match="newer version"):
        MemoryIndex(path).put([record("a")])


def test_threads_share_one_index(index: MemoryIndex) -> None:
    def work(name: str) -> None:
        for i in range(50):
            index.put([record(f"{name}{i}"), record(f"shared{i}")])
            index.search("text")

    threads = [threading.Thread(target=work, args=(f"t{n}-",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert index.count() == 4 * 50 + 50


def test_two_processes_that_write_the_same_records_store_each_once(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"

    both = [writer(path, "m", 0, 1000, 20) for _ in range(2)]
    told = [process.communicate(timeout=60)[0].splitlines()[-1].split() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(new) for _, new in told) == 1000
    assert MemoryIndex(path).count() == 1000
    assert consistent(path)


def test_a_writer_killed_in_the_middle_loses_nothing_it_answered_for(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    answered = 0
    for _ in range(3):
        process = writer(path, "m", answered, 1_000_000, 300)
        assert process.stdout is not None
        for _ in range(3):
            answered = int(process.stdout.readline().split()[0])
        process.send_signal(signal.SIGKILL)
        answered = max([answered, *(int(line.split()[0]) for line in process.stdout if line.endswith("\n"))])
        process.wait(30)
        process.stdout.close()

        index = MemoryIndex(path)
        stored = index.count()
        assert stored >= answered
        assert index.cursor("writer") == str(stored)
        index.close()
        assert consistent(path)
        answered = stored


def test_metadata_is_stored_as_json(index: MemoryIndex) -> None:
    index.put([record("a", pool_id="p")])

    with sqlite3.connect(index.path) as connection:
        stored = connection.execute("SELECT metadata FROM record").fetchone()[0]
    connection.close()

    assert json.loads(stored) == {"pool_id": "p"}
    assert index.path.stat().st_mode & 0o077 == 0

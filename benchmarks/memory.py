"""How long a search over 100,000 memory records takes, for each kind of query, and how fast records are stored."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from benchmarks.figures import Figure, quantile
from mahavishnu_pools.memory.index import Filters, MemoryIndex
from mahavishnu_pools.schemas.memory import MemoryRecord

RECORDS = 100_000

#: Records of one ``put``.
BATCH = 1000

#: Searches of each kind.
SEARCHES = 100

#: Different words of all texts; the first is as often in them as the next two together, and so on (Zipf's law).
WORDS = 5000

#: Milliseconds 95 of 100 searches of each kind should need at most.
WANTED = 50.0

Kind = tuple[str, Callable[[int], tuple[str, Filters]]]

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def run() -> list[Figure]:
    """Measure in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="memory-bench-") as directory:
        index = MemoryIndex(Path(directory) / "memory.db")
        records, began = _records(random.Random(7)), time.perf_counter()
        while batch := list(islice(records, BATCH)):
            index.put(batch)
        taken = time.perf_counter() - began
        figures = [Figure("memory records stored a second, 1,000 at a time", RECORDS / taken, "1/s")]
        figures += [_searches(index, kind, number) for number, kind in enumerate(_KINDS)]
        index.close()
    return figures


def _records(rng: random.Random) -> Iterator[MemoryRecord]:
    words, weights = [f"word{number}" for number in range(WORDS)], [1 / (number + 1) for number in range(WORDS)]
    for number in range(RECORDS):
        yield MemoryRecord(
            memory_id=f"memory-{number}",
            content=f"task finished {' '.join(rng.choices(words, weights, k=40))}",
            timestamp=_BEGAN + timedelta(seconds=number),
            metadata={
                "pool_id": f"pool-{number % 20}",
                "status": rng.choice(("completed", "failed")),
                "task_id": f"task-{number}",
                "duration_seconds": rng.random(),
            },
        )


#: Name, and what makes query and filters of a random number below 5,000.
_KINDS: tuple[Kind, ...] = (
    ("a word", lambda n: (f"word{n}", Filters())),
    ("the word of all records", lambda _: ("task", Filters())),
    ("three words", lambda n: (f"word{n % 30} word{n % 20} finished", Filters())),
    ("a phrase", lambda n: (f'"word{n % 10} word{n % 30}"', Filters())),
    ("a prefix", lambda n: (f"word{n % 10}*", Filters())),
    ("a prefix of one letter", lambda _: ("w*", Filters())),
    ("a word of one pool", lambda n: (f"word{n % 50}", Filters(pool_id=f"pool-{n % 20}"))),
    ("a word and a status", lambda n: (f"word{n % 50}", Filters(status="failed"))),
    ("a word and a time", lambda n: (f"word{n % 50}", Filters(since=_BEGAN, until=_BEGAN + timedelta(seconds=n)))),
    ("the newest of a pool", lambda n: ("", Filters(pool_id=f"pool-{n % 20}"))),
    ("syntax characters", lambda n: (f'NEAR("word{n}* -word0:', Filters())),
)


def _searches(index: MemoryIndex, kind: Kind, number: int) -> Figure:
    name, make = kind
    rng, taken = random.Random(number), []
    for _ in range(SEARCHES):
        query, filters = make(rng.randrange(WORDS))
        began = time.perf_counter()
        index.search(query, filters=filters)
        taken.append((time.perf_counter() - began) * 1000)
    return Figure(f"  search for {name}, p95", quantile(taken, 0.95), "ms", at_most=WANTED)

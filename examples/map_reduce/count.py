"""Count the words of text files on two pools, and add the counts up with a reducer of one's own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mahavishnu_pools import PoolConfig, PoolManager


async def main(files: list[Path]) -> int:
    async with PoolManager() as manager:
        for name in ("words-1", "words-2"):
            await manager.spawn_pool(config=PoolConfig(name=name, min_workers=2, imports=("words",), auto_scale=False))
        done = await manager.distribute(
            {"task_type": "count-words", "payload": {"files": [str(file) for file in files]}},
            strategy="map_reduce",
            reducer="add-up",
            pools=["words-1", "words-2"],
            chunk_size=5,  # files a task
        )
    for item in done.items:
        if not item.ok:
            print(item.error, file=sys.stderr)
    print(done.reduced["words"], "words")
    for word, count in done.reduced["most"]:
        print(f"{count:8} {word}")
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main([Path(file).resolve() for file in sys.argv[1:]])))

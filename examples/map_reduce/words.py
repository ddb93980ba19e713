"""What worker groups load: a task type that counts words, and a reducer that adds the counts up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from mahavishnu_pools import TaskResult, reducer, task_type


class Files(BaseModel):
    files: list[str]


@task_type("count-words", payload=Files, mode="process")  # a process each: counting needs the CPU
def count_words(payload: Files) -> dict[str, int]:
    words: Counter[str] = Counter()
    for file in payload.files:
        words.update(re.findall(r"\w+", Path(file).read_text(encoding="utf-8").lower()))
    return dict(words)


@reducer("add-up")
def add_up(results: Sequence[TaskResult]) -> dict[str, object]:
    total: Counter[str] = Counter()
    for result in results:
        if result.ok and isinstance(result.value, dict):
            total.update(result.value)
    most = sorted(total.items(), key=lambda one: (-one[1], one[0]))[:10]
    return {"words": sum(total.values()), "most": most, "unread": sum(not result.ok for result in results)}

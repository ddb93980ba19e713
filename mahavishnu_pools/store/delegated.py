"""Calls about tasks that run on another instance: who this one is, and where each task of a pool runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from secrets import token_hex

from mahavishnu_pools.store.calls import Call, pairs


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a task runs: the id of the instance, and the task's id there."""

    instance: str
    task_id: str


def read_instance_id() -> Call[str]:
    """Read the random id of this instance, which no other has, nor this one after its Redis was emptied."""

    def parse(reply: str) -> str:
        return reply

    return Call("instance_id", (f"i_{token_hex(8)}",), parse)


def note_delegated(pool_id: str, task_id: str, where: Whereabouts | None) -> Call[bool]:
    """Note where a task of a pool runs, None: nowhere any more."""
    text = "" if where is None else json.dumps(asdict(where))
    return Call("delegated_note", (pool_id, task_id, text), bool)


def read_delegated(pool_id: str) -> Call[dict[str, Whereabouts]]:
    """Read where tasks of a pool run, by their ids."""

    def parse(reply: list[str]) -> dict[str, Whereabouts]:
        return {task_id: Whereabouts(**json.loads(text)) for task_id, text in pairs(reply).items()}

    return Call("delegated_read", (pool_id,), parse)

"""Splitting a task into parts and spreading them over pools. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import DistributionStrategy, PoolSelector
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.task_types import REDUCER_PREFIX

#: Where the list to split is looked for in the payload, in this order.
LIST_KEYS = ("items", "files", "batch", "data")

#: Stands for the item in a prompt or ``cwd``.
ITEM = "{item}"

#: The reducers that need no configuration, and which one a task type gets when none is named.
REDUCERS = ("concat", "analysis")
_DEFAULT_REDUCERS = {"analyze": "analysis"}

#: How parts are routed; broadcast routes nothing.
_SELECTORS = {
    DistributionStrategy.ROUND_ROBIN: PoolSelector.ROUND_ROBIN,
    DistributionStrategy.RANDOM: PoolSelector.RANDOM,
    DistributionStrategy.LEAST_LOADED: PoolSelector.LEAST_LOADED,
    DistributionStrategy.MAP_REDUCE: PoolSelector.LEAST_LOADED,
}


@dataclass(frozen=True, slots=True)
class Spread:
    """How a task is to be distributed. ``split_on=None`` looks for the list, ``reducer=None`` takes the type's own."""

    strategy: DistributionStrategy
    split_on: str | None = None
    chunk_size: int = 1
    reducer: str | None = None

    @property
    def selector(self) -> PoolSelector | None:
        """Return how each part's pool is chosen; None: the whole task goes to every pool."""
        return _SELECTORS.get(self.strategy)


def spread(
    strategy: DistributionStrategy | str, *, split_on: str | None, chunk_size: int, reducer: str | None
) -> Spread:
    """Return how a task is to be distributed.

    Raises:
        UnknownChoice: there is no such strategy.
        InvalidField: the chunk size is below 1, or the strategy reduces nothing and a reducer is given.
    """
    try:
        known = DistributionStrategy(strategy)
    except ValueError:
        names = [one.value for one in DistributionStrategy]
        raise errors.UnknownChoice.of("distribution strategy", strategy, names) from None
    if chunk_size < 1:
        raise errors.InvalidField.of("chunk_size", f"is {chunk_size!r}", "Give a whole number from 1 on.")
    if reducer is not None and known is not DistributionStrategy.MAP_REDUCE:
        problem = f"is nothing that strategy {known} uses"
        raise errors.InvalidField.of("reducer", problem, "Leave it out, or distribute with strategy=map_reduce.")
    return Spread(known, split_on, chunk_size, reducer)


def list_key(spec: TaskSpec, *, split_on: str | None) -> str:
    """Return the key of the payload's list.

    Raises:
        InvalidField: there is none, it is no list, or it is empty.
    """
    keys = LIST_KEYS if split_on is None else (split_on,)
    key = next((key for key in keys if isinstance(spec.payload.get(key), list)), None)
    if key is None:
        has = ", ".join(spec.payload) or "nothing"
        raise errors.InvalidField.of(
            "payload",
            f"has no list under {' or '.join(keys)} to split (it has: {has})",
            "Add one, or name it with split_on=KEY.",
        )
    if not spec.payload[key]:
        raise errors.InvalidField.of(f"payload.{key}", "is empty", "Give at least one item.")
    return key


def split(spec: TaskSpec, how: Spread) -> list[TaskSpec]:
    """Return the parts of a task in input order: each keeps the payload with a piece of the list.

    In a prompt task the list only fills ``{item}`` in the prompt and ``cwd``.

    Raises:
        InvalidField: there is no list to split.
    """
    key = list_key(spec, split_on=how.split_on)
    items = spec.payload[key]
    assert isinstance(items, list)
    pieces = [items[start : start + how.chunk_size] for start in range(0, len(items), how.chunk_size)]
    return [_part(spec, key, piece, index) for index, piece in enumerate(pieces)]


def copies(spec: TaskSpec, count: int) -> list[TaskSpec]:
    """Return the whole task once for each of ``count`` pools."""
    return [spec.model_copy(update=_own_identity(spec, index)) for index in range(count)]


def follower(spec: TaskSpec, how: Spread, batch_id: str) -> TaskSpec | None:
    """Return the task that reduces the results of a batch, or None when the strategy has none."""
    if how.strategy is not DistributionStrategy.MAP_REDUCE:
        return None
    reducer = how.reducer or _DEFAULT_REDUCERS.get(spec.task_type, "concat")
    after = TaskSpec(
        task_type="reduce" if reducer in REDUCERS else REDUCER_PREFIX + reducer,
        payload={"batch_id": batch_id, "reducer": reducer},
        timeout=spec.timeout,
        priority=spec.priority,
        memory=spec.memory,
    )
    key = spec.idempotency_key
    return after.model_copy(update={"idempotency_key": f"{key}#{reducer}"}) if key else after


def _part(spec: TaskSpec, key: str, piece: Sequence[Any], index: int) -> TaskSpec:
    changes = _own_identity(spec, index)
    text = "\n".join(item if isinstance(item, str) else str(item) for item in piece)
    if spec.task_type == "prompt":
        rest = {name: value for name, value in spec.payload.items() if name not in (key, "prompt")}
        changes |= {"prompt": (spec.text or "").replace(ITEM, text), "payload": rest}
    else:
        changes["payload"] = {**spec.payload, key: list(piece)}
    if spec.cwd is not None:
        changes["cwd"] = _directory(spec.cwd, text)
    return spec.model_copy(update=changes)


def _directory(template: str, item: str) -> str:
    """Return the directory of a part; an item that is an absolute path stands for itself, whatever is before it."""
    before, found, after = template.partition(ITEM)
    if not found:
        return template
    start = posixpath.join(before, item) if before.endswith("/") else before + item
    return start + after.replace(ITEM, item)


def _own_identity(spec: TaskSpec, index: int) -> dict[str, Any]:
    """Return what must differ between the parts: each is a task of its own, and none is bound to one pool."""
    key = spec.idempotency_key
    return {"idempotency_key": f"{key}#{index}" if key else None, "affinity": None}

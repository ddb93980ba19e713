"""Batches whose tasks come after each other: names become ids, what cannot be is refused, who is sent first. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.wording import did_you_mean, short

K = TypeVar("K", bound=Hashable)

#: Tasks of a cycle that its refusal names.
NAMED_MOST = 10


def linked(specs: Sequence[TaskSpec], ids: Sequence[str], *, places: Sequence[str] = ()) -> list[TaskSpec]:
    """Return the tasks with what each comes after as task ids; ``ids`` are theirs.

    An entry is the name of a task of the batch, its place there (a number, from 0), or the id of a task that exists.
    ``places`` say where each of them stands (``line 3``), for errors; a caller that has none gets numbers.

    Raises:
        InvalidField: a name stands for two tasks or for none, a task comes after itself, or there is a cycle. Its
            ``task`` is the place in the batch of the one to look at.
    """
    if not any(spec.after or spec.name for spec in specs):
        return list(specs)
    named = _named(specs, places)
    found = [
        spec.model_copy(update={"after": _ids(spec, index, named, ids, places)}) if spec.after else spec
        for index, spec in enumerate(specs)
    ]
    _refuse_cycles(found, ids, places)
    return found


def in_order(groups: Sequence[K], parents: Sequence[Sequence[int]]) -> list[int]:
    """Return the indexes of tasks, those first that others come after; tasks of a group stand together where it goes.

    ``parents`` are the indexes each comes after. Those of a cycle are left out.
    """
    children: list[list[int]] = [[] for _ in groups]
    left = [len(set(some)) for some in parents]
    for index, some in enumerate(parents):
        for parent in set(some):
            children[parent].append(index)
    ready: dict[K, deque[int]] = {}
    for index, group in enumerate(groups):
        if not left[index]:
            ready.setdefault(group, deque()).append(index)
    order: list[int] = []
    while ready:
        group = next(iter(ready))
        queue = ready[group]
        while queue:
            index = queue.popleft()
            order.append(index)
            for child in children[index]:
                left[child] -= 1
                if not left[child]:
                    ready.setdefault(groups[child], deque()).append(child)
        del ready[group]
    return order


def levels(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return tasks in layers, each after those it comes after; what is no key does not count."""
    ids = list(after)
    place = {task_id: index for index, task_id in enumerate(ids)}
    parents = [[place[one] for one in after[task_id] if one in place] for task_id in ids]
    depth = [0] * len(ids)
    found: dict[int, list[str]] = {}
    for index in in_order([0] * len(ids), parents):
        depth[index] = max((depth[one] + 1 for one in parents[index]), default=0)
        found.setdefault(depth[index], []).append(ids[index])
    return [found[level] for level in sorted(found)]


def _problem(index: int, problem: str, remedy: str) -> errors.InvalidField:
    return errors.InvalidField(f"after: {problem}. {remedy}", field="after", task=index)


def _place(index: int, places: Sequence[str]) -> str:
    return places[index] if places else f"task {index} of the batch"


def _named(specs: Sequence[TaskSpec], places: Sequence[str]) -> dict[str, int]:
    named: dict[str, int] = {}
    twice: dict[str, tuple[int, int]] = {}
    for index, spec in enumerate(specs):
        if spec.name is None:
            continue
        if spec.name in named:
            twice[spec.name] = (named[spec.name], index)
        named[spec.name] = index
    meant = next((one for spec in specs for one in spec.after if isinstance(one, str) and one in twice), None)
    if meant is not None:
        first, second = twice[meant]
        problem = f"{meant!r} is the name of two tasks: {_place(first, places)} and {_place(second, places)}"
        raise _problem(second, problem, "Give each a name of its own.")
    return named


def _ids(
    spec: TaskSpec, index: int, named: Mapping[str, int], ids: Sequence[str], places: Sequence[str]
) -> tuple[str, ...]:
    what = f"{spec.name!r}" if spec.name else _place(index, places)
    found: dict[str, None] = {}
    for entry in spec.after:
        place = entry if isinstance(entry, int) else named.get(entry)
        if place is None and isinstance(entry, str) and _may_be_id(entry):
            found[entry] = None
            continue
        if place != index and len(ids) == 1:
            raise _problem(index, f"no task has the id {short(entry)}", "Give that of a task that exists.")
        if place is None or not 0 <= place < len(ids):
            problem = f"{what} comes after {short(entry)}, and there is no such task in the batch"
            remedy = "Give a task's name, its number from 0, or the id of a task that exists."
            raise _problem(index, problem, did_you_mean(entry, named) + remedy)
        if place == index:
            raise _problem(index, f"{what} comes after itself", "Leave that out.")
        found[ids[place]] = None
    return tuple(found)


def _may_be_id(entry: str) -> bool:
    """Tell whether a text may be a task's id: one of ours, or Celery's, which are as long as UUIDs."""
    return entry.startswith(names.TASK_ID_PREFIX) or len(entry) == len("00000000-0000-0000-0000-000000000000")


def _refuse_cycles(specs: Sequence[TaskSpec], ids: Sequence[str], places: Sequence[str]) -> None:
    place = {task_id: index for index, task_id in enumerate(ids)}
    parents = [[place[one] for one in spec.after if isinstance(one, str) and one in place] for spec in specs]
    left = set(range(len(specs))) - set(in_order([0] * len(specs), parents))
    if not left:
        return
    # Who is left comes after somebody who is left, so going from one to the next leads round.
    path, seen = [min(left)], dict[int, int]()
    while path[-1] not in seen:
        seen[path[-1]] = len(path) - 1
        path.append(next(one for one in parents[path[-1]] if one in left))
    cycle = path[seen[path[-1]] :]
    told = [_in_cycle(specs[index], index, places) for index in cycle]
    if len(told) > NAMED_MOST:
        told = [*told[: NAMED_MOST - 1], "…", told[-1]]
    problem = f"these tasks come after each other, so none could begin: {' after '.join(told)}"
    raise _problem(cycle[0], problem, "Leave one of these out.")


def _in_cycle(spec: TaskSpec, index: int, places: Sequence[str]) -> str:
    if not spec.name:
        return places[index] if places else f"task {index}"
    return f"{spec.name} ({places[index]})" if places else spec.name

"""The changes of several tasks, one after the other: those that are named, or those of a batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mahavishnu_pools import errors
from mahavishnu_pools.cli.formats.interface import Block, Document, Note

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Named:
    """What was given at the command line: tasks, or a batch (None: none)."""

    task_ids: tuple[str, ...]
    batch_id: str | None

    def __post_init__(self) -> None:
        if bool(self.task_ids) == (self.batch_id is not None):
            problem = "exclude each other" if self.task_ids else "are missing"
            raise errors.InvalidField.of("TASK and --batch", problem, "Name tasks, or one batch.")

    @property
    def single(self) -> bool:
        """Tell whether one task was named."""
        return len(self.task_ids) == 1


@dataclass(slots=True)
class Worked(Generic[T]):
    """What was done for each task, and why nothing was done for others of its batch."""

    done: dict[str, T] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


async def for_each(manager: PoolManager, named: Named, work: Callable[[str], Awaitable[T]]) -> Worked[T]:
    """Work on task after task, up to the first that cannot be done; tasks of a batch without changes are skipped.

    Raises:
        MahavishnuError: what stopped it; the message says which task that was, and what was done before.
        ChangesNotFound: no task of the batch has changes.
    """
    found = Worked[T]()
    task_ids = named.task_ids if named.batch_id is None else (await manager.batch(named.batch_id)).task_ids
    for task_id in dict.fromkeys(task_ids):
        try:
            found.done[task_id] = await work(task_id)
        except errors.MahavishnuError as exc:
            if named.batch_id is None or not isinstance(exc, (errors.ChangesNotFound, errors.TaskNotFound)):
                raise _stopped(exc, named, task_id, tuple(found.done)) from exc
            found.skipped[task_id] = exc.message
    if not found.done:
        why = next(iter(found.skipped.values()), "it has no tasks")
        raise errors.ChangesNotFound(f"No task of batch {named.batch_id} has changes: {why}", batch_id=named.batch_id)
    return found


def several(
    worked: Worked[T], *, line: Callable[[T], Sequence[Block]], data: Callable[[T], Mapping[str, Any]]
) -> Document:
    """Return the document of what was done for several tasks."""
    blocks = [block for one in worked.done.values() for block in line(one)]
    left = (Note(f"Skipped: {why}") for why in worked.skipped.values())
    return Document({"tasks": [data(one) for one in worked.done.values()], "skipped": worked.skipped}, (*blocks, *left))


def _stopped(exc: errors.MahavishnuError, named: Named, task_id: str, done: tuple[str, ...]) -> errors.MahavishnuError:
    if named.single:
        return exc
    before = f" Done before it: {', '.join(done)}." if done else " Nothing was done before it."
    exc.message = f"Task {task_id}: {exc.message}{before}"
    exc.args = (exc.message,)
    return exc

"""A file of tasks for ``submit``: a line each. What is wrong with one is told with the file and its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors, names
from mahavishnu_pools.cli.items import json_value, lines_of
from mahavishnu_pools.cli.task_input import text_of
from mahavishnu_pools.wording import short

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import TaskSpec

_OPTION = "--file"


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The tasks of a file, ``lines`` where they stand, from 1."""

    name: str
    tasks: tuple[dict[str, Any], ...]
    lines: tuple[int, ...]

    def placed(self, exc: errors.InvalidField) -> errors.InvalidField:
        """Return an error of these tasks with the file and the line; one that tells of none of them as it is."""
        details = exc.details()
        index = details.get("task")
        if index is None and "parent" in details:
            afters = (task.get("after") or () for task in self.tasks)
            index = next((number for number, after in enumerate(afters) if details["parent"] in after), None)
        return exc if index is None else _at(self.name, self.lines[index], exc)


def read_tasks(given: str, *, directory: str | None) -> TaskFile:
    """Return the tasks of a JSONL file or of ``-``: an object with the fields of a task a line, or a prompt as a text.

    ``directory`` is for tasks that name none (None: their worker finds one); a ``cwd`` is taken from here.

    Raises:
        InvalidField: there is none, or one cannot be used; the message names the file and the line.
    """
    name = given.removeprefix("@")
    text = text_of(given if given == "-" else f"@{name}", option=_OPTION)
    name = "standard input" if given == "-" else name
    tasks, specs, lines = [], [], []
    for number, line in lines_of(text):
        try:
            task = _task(line, directory)
            specs.append(_checked(task))
        except errors.InvalidField as exc:
            raise _at(name, number, exc) from exc
        tasks.append(task)
        lines.append(number)
    if not tasks:
        raise errors.InvalidField.of(_OPTION, f"{short(name)} holds no task", "Give at least one, a line each.")
    found = TaskFile(name, tuple(tasks), tuple(lines))
    _check_graph(found, specs)
    return found


def _task(line: str, directory: str | None) -> dict[str, Any]:
    fields = json_value(line, where="it", option="task")
    task = {"prompt": fields} if isinstance(fields, str) else fields
    if not isinstance(task, dict):
        raise errors.InvalidField.of("task", "is no JSON object", 'Write it like {"prompt": "Fix it"}.')
    cwd = task.get("cwd")
    if isinstance(cwd, str):
        return {**task, "cwd": str(Path(cwd).expanduser().absolute())}
    return task if directory is None or cwd is not None else {**task, "cwd": directory}


def _checked(task: dict[str, Any]) -> TaskSpec:
    from mahavishnu_pools.routing.task_input import task_spec

    return task_spec(task)


def _check_graph(found: TaskFile, specs: Sequence[TaskSpec]) -> None:
    """Refuse names that stand for nothing or for two tasks, and cycles: here, where the lines are known."""
    from mahavishnu_pools.routing.graphs import linked

    if not any(spec.after for spec in specs):
        return
    try:
        linked(specs, [names.new_task_id() for _ in specs], places=[f"line {line}" for line in found.lines])
    except errors.InvalidField as exc:
        raise found.placed(exc) from exc


def _at(name: str, line: int, exc: errors.InvalidField) -> errors.InvalidField:
    message = f"{_OPTION}: {name}, line {line}: {exc.message}"
    return errors.InvalidField(message, field=_OPTION, file=name, line=line)

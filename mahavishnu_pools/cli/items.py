"""Items and tasks from files, from standard input, or by a pattern of file names."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.cli.task_input import text_of
from mahavishnu_pools.wording import short

_OPTION = "--items-from"


def items_from(given: str) -> list[Any]:
    """Return the items of a file (a line each; ``.json``: a list, ``.jsonl``: a value a line), of ``-``, or of a GLOB.

    Raises:
        InvalidField: there are none, or they cannot be read; the message names the option.
    """
    found: list[Any]
    path = Path(given.removeprefix("@")).expanduser()
    if given != "-" and not path.exists() and glob.has_magic(given):
        found = sorted(glob.glob(str(path), recursive=True))
        if not found:
            raise errors.InvalidField.of(_OPTION, f"no file matches {short(given)}", "Quote the pattern, and check it.")
        return found
    text = text_of(given if given == "-" else f"@{given.removeprefix('@')}", option=_OPTION)
    if path.suffix == ".json":
        found = _json_list(text)
    elif path.suffix == ".jsonl":
        found = [_json(line, where=f"line {number}") for number, line in _lines(text)]
    else:
        found = [line for _, line in _lines(text)]
    if not found:
        raise errors.InvalidField.of(_OPTION, f"{short(given)} holds no item", "Give at least one.")
    return found


def with_items(task: dict[str, Any], items: list[Any], *, key: str | None) -> dict[str, Any]:
    """Return a task whose payload has the items under a key (None: ``items``).

    Raises:
        InvalidField: the payload has a list there already.
    """
    name = key or "items"
    payload = dict(task.get("payload", {}))
    if name in payload:
        raise errors.InvalidField.of(_OPTION, f"the payload has {name!r} already", "Give the items once.")
    return {**task, "payload": {**payload, name: items}}


def same_for_all(task: Mapping[str, Any]) -> bool:
    """Tell whether a task is the same whatever its items are: only a prompt's text and directory take them."""
    from mahavishnu_pools.routing.distribution import ITEM

    if task.get("task_type", "prompt") != "prompt":
        return False
    texts = (task.get("prompt"), task["payload"].get("prompt"), task.get("cwd"))
    return not any(ITEM in text for text in texts if isinstance(text, str))


def tasks_from(given: str, *, directory: str | None) -> list[dict[str, Any]]:
    """Return the tasks of a JSONL file or of ``-``: an object with the fields of a task a line, or a prompt as a text.

    ``directory`` is for tasks that name none (None: their worker finds one); a ``cwd`` is taken from here.

    Raises:
        InvalidField: there is none, or one cannot be used; the message names its line.
    """
    from mahavishnu_pools.routing.task_input import task_spec

    text = text_of(given if given == "-" else f"@{given.removeprefix('@')}", option="--file")
    found = []
    for number, line in _lines(text):
        try:
            fields = _json(line, where="it", option="task")
            task = {"prompt": fields} if isinstance(fields, str) else fields
            if not isinstance(task, dict):
                raise errors.InvalidField.of("task", "is no JSON object", 'Write it like {"prompt": "Fix it"}.')
            task = _placed(task, directory)
            task_spec(task)
        except errors.InvalidField as exc:
            raise errors.InvalidField(f"--file: line {number}: {exc.message}", field="--file", line=number) from exc
        found.append(task)
    if not found:
        raise errors.InvalidField.of("--file", f"{short(given)} holds no task", "Give at least one, a line each.")
    return found


def _placed(task: dict[str, Any], directory: str | None) -> dict[str, Any]:
    cwd = task.get("cwd")
    if isinstance(cwd, str):
        return {**task, "cwd": str(Path(cwd).expanduser().absolute())}
    return task if directory is None or cwd is not None else {**task, "cwd": directory}


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _json_list(text: str) -> list[Any]:
    value = _json(text, where="it")
    if not isinstance(value, list):
        raise errors.InvalidField.of(_OPTION, "is no JSON list", 'Write it like ["a", "b"].')
    return value


def _json(text: str, *, where: str, option: str = _OPTION) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise errors.InvalidField.of(option, f"{where} is no JSON ({exc})", "Correct it.") from exc

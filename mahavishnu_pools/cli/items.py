"""Items from files, from standard input, or by a pattern of file names."""

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
        found = [json_value(line, where=f"line {number}") for number, line in lines_of(text)]
    else:
        found = [line for _, line in lines_of(text)]
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


def lines_of(text: str) -> list[tuple[int, str]]:
    """Return the lines of a text that are not empty, with their numbers from 1."""
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def json_value(text: str, *, where: str, option: str = _OPTION) -> Any:
    """Return a JSON value.

    Raises:
        InvalidField: it is none; the message says where.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise errors.InvalidField.of(option, f"{where} is no JSON ({exc})", "Correct it.") from exc


def _json_list(text: str) -> list[Any]:
    value = json_value(text, where="it")
    if not isinstance(value, list):
        raise errors.InvalidField.of(_OPTION, "is no JSON list", 'Write it like ["a", "b"].')
    return value

"""Reads a YAML file of the user's: plain data only, whatever is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors

if TYPE_CHECKING:
    from yaml.nodes import Node

#: A file may have this many characters and hold this many values, those that aliases repeat counted each time.
MOST_CHARACTERS, MOST_VALUES = 256 * 1024, 50_000

#: Brackets, or dashes in one line, may stand this deep in each other: the parser's time grows with the square of it.
MOST_DEPTH = 100

_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}
_DASHES = re.compile(rf"(?:[-?] +){{{MOST_DEPTH}}}")


def read_yaml(path: Path, *, setting: str = "") -> Any:
    """Return what a file holds, None when it is empty. ``setting`` is the one that names the file, for errors.

    Raises:
        InvalidConfig: it cannot be read, is no YAML, or repeats itself by aliases without end.
    """
    import yaml

    name = f"{setting}: {path}" if setting else str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise errors.InvalidConfig(f"{name} cannot be read ({exc}). Correct it.", file=str(path)) from exc
    try:
        _check_size(text)
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _count(node, {})
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    # The border to the user's file: dates and numbers that are none make the library raise whatever they run into.
    except Exception as exc:
        raise errors.InvalidConfig(f"{name} is no valid YAML: {exc}. Correct it.", file=str(path)) from exc


def _check_size(text: str) -> None:
    """Refuse what the parser would take too long for.

    Raises:
        ValueError: it is too large, or nested too deep.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has more than {MOST_CHARACTERS} characters")
    depth = deepest = 0
    for char in text:
        depth = max(0, depth + _BRACKETS.get(char, 0))
        deepest = max(deepest, depth)
    if deepest > MOST_DEPTH or _DASHES.search(text):
        raise ValueError("it is nested too deep")


def _count(node: Node | None, known: dict[int, int]) -> int:
    """Return how many values there are under a node, aliases followed.

    Raises:
        ValueError: too many, or one holds itself.
    """
    from yaml.nodes import MappingNode, SequenceNode

    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias stands inside of what it repeats")
        return known[id(node)]
    known[id(node)] = 0
    children: list[Node] = []
    if isinstance(node, MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, SequenceNode):
        children = node.value
    total = 1 + sum(_count(child, known) for child in children)
    if total > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES} values")
    known[id(node)] = total
    return total

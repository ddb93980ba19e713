"""What the parameters of an MCP tool are, from the schema its server tells. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Note, Table

_COLUMNS = (Column("Argument (* needed)", whole=True), Column("Type"), Column("Default"), Column("Meaning"))


def is_asked_for(words: Sequence[str], schema: Mapping[str, Any]) -> bool:
    """Tell whether the words behind a tool's name ask what its parameters are: ``--help``, or ``-h`` alone."""
    return tuple(words) == ("-h",) or ("--help" in words and "help" not in schema.get("properties", {}))


def parameters(tool: str, schema: Mapping[str, Any]) -> Document:
    """Return the document of a tool's parameters."""
    data = {"tool": tool, "arguments": dict(schema)}
    rows = tuple(_rows(schema))
    usage = Note(f"mahavishnu mcp call SERVER {tool} [--ARGUMENT VALUE]...")
    table: Block = Table(f"Arguments of {tool}", _COLUMNS, rows) if rows else Note(f"{tool} takes no arguments.")
    return Document(data, (usage, table))


def _rows(schema: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    needed = schema.get("required", ())
    kinds = schema.get("$defs", {})
    for name, about in schema.get("properties", {}).items():
        default = about.get("default")
        shown = None if default is None else default if isinstance(default, str) else json.dumps(default)
        meaning = " ".join(str(about.get("description", "")).split()) or None
        yield f"--{name}{'*' if name in needed else ''}", _kind(about, kinds), shown, meaning


def _kind(about: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:
    """Return the type of a parameter in a few words; what it may be left without (null) is not told."""
    if "enum" in about:
        return " | ".join(map(str, about["enum"]))
    if "const" in about:
        return str(about["const"])
    named = kinds.get(str(about.get("$ref", "")).rpartition("/")[2])
    if named is not None:
        return _kind(named, {})
    if "anyOf" in about:
        return " | ".join(dict.fromkeys(one for part in about["anyOf"] if (one := _kind(part, kinds)) != "null"))
    if about.get("type") == "array":
        return f"list of {_kind(about.get('items', {}), kinds)}"
    kind = about.get("type", "any")
    return kind if isinstance(kind, str) else " | ".join(one for one in kind if one != "null")

"""The parts of the documents that are made from the code; ``python -m tests.docs.reference`` writes them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mahavishnu_pools import mcp_tools
from mahavishnu_pools.cli.lazy_group import summary_of
from mahavishnu_pools.cli.main import mahavishnu
from mahavishnu_pools.cli.pools import pools
from mahavishnu_pools.mcp_tools import Tool
from mahavishnu_pools.metrics.definitions import METRICS
from mahavishnu_pools.server import running
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.waiting import Waiting
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.keys import KEYS
from tests.docs import example_settings

DOCS = Path(__file__).resolve().parents[2] / "docs"


def commands() -> str:
    """Return the commands and their options, as ``--help`` tells of them."""
    root = click.Context(mahavishnu, info_name="mahavishnu")
    return "\n\n".join(_section(context) for context in walk(root) if not isinstance(context.command, click.Group))


def walk(context: click.Context) -> Iterator[click.Context]:
    """Yield the contexts of all commands below this one; ``pool`` is ``pools`` by another name."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and name != "pool":
                yield from walk(click.Context(command, parent=context, info_name=name))


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context))
    rows = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and "--help" not in parameter.opts
        and (record := parameter.get_help_record(context)) is not None
    ]
    table = "\n".join(f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows)
    head = f"### `{context.command_path} {usage}`\n\n{_one_line(command.help or '')}"
    return f"{head}\n\n| option | |\n|---|---|\n{table}" if rows else head


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|").replace("<", "&lt;")


def keys() -> str:
    """Return the table of Redis keys."""
    head = "| key | type | lives | written by | read by | holds |\n|---|---|---|---|---|---|"
    rows = (
        f"| `{key.pattern}` | {key.kind} | {key.lifetime} | {key.writer} | {key.reader} | {key.meaning} |"
        for key in KEYS
    )
    return "\n".join([head, *rows])


def tools() -> str:
    """Return the tools of the MCP server: what each does, takes and answers."""
    stopping = asyncio.Event()
    made = running.tools(Pools(Settings()), Waiting(stopping))
    return "\n\n".join(_tool(tool) for tool in made)


def _tool(tool: Tool) -> str:
    assert tool.result is not None
    schema = mcp_tools.input_schema(tool)
    needed = schema.get("required", [])
    rows = [
        f"| `{name}`{' (needed)' if name in needed else ''} | {_kind(field, schema)} | {_cell(field['description'])} |"
        for name, field in schema["properties"].items()
    ]
    answered = ", ".join(f"`{name}`" for name in tool.result.model_json_schema(mode="serialization")["properties"])
    head = f"### `{tool.name}`\n\n{tool.description}\n\n"
    table = "| argument | is | |\n|---|---|---|\n" + "\n".join(rows) + "\n\n" if rows else ""
    return f"{head}{table}Answers {answered}."


def _kind(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in field:
        field = {**schema["$defs"][field["$ref"].rpartition("/")[2]], **field}
    if "anyOf" in field:
        found = [_kind(part, schema) for part in field["anyOf"] if part.get("type") != "null"]
        return " or ".join(found)
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list: {_kind(field['items'], schema)}"
    return {"string": "text", "object": "object", "boolean": "true or false"}.get(field["type"], field["type"])


def metrics() -> str:
    """Return the table of metrics."""
    head = "| metric | kind | labels | tells |\n|---|---|---|---|"
    rows = (
        f"| `{metric.exposed.removesuffix('_bucket')}` | {metric.kind} | {', '.join(metric.labels)} | {metric.text} |"
        for metric in METRICS
    )
    return "\n".join([head, *rows])


PARTS = {"cli.md": commands, "redis-keys.md": keys, "mcp.md": tools, "metrics.md": metrics}

_PART = re.compile(r"(?<=<!-- generated: .{4} -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def generated(document: Path) -> str:
    """Return the generated part of a document as it stands there."""
    found = _PART.search(document.read_text(encoding="utf-8"))
    assert found is not None, f"{document.name} has no generated part"
    return found.group().strip()


#: What the help of the groups shows of commands, so that it need not import them.
SUMMARIES = DOCS.parent / "mahavishnu_pools" / "cli" / "summaries.py"

_SUMMARIES_HEAD = '''"""The lines that ``--help`` shows of commands. Written by ``python -m tests.docs.reference``."""

# ruff: noqa: E501
from __future__ import annotations
'''


def summaries() -> str:
    """Return the module with the first sentences of all commands' help."""
    parts = [_SUMMARIES_HEAD]
    for name, group in (("PROGRAM", mahavishnu), ("POOLS", pools)):
        context = click.Context(group)
        lines = [f"{name} = {{"]
        for command_name in group.list_commands(context):
            command = group.get_command(context, command_name)
            assert command is not None
            text = summary_of(command)
            quoted = repr(text) if '"' in text else json.dumps(text, ensure_ascii=False)
            lines.append(f"    {json.dumps(command_name)}: {quoted},")
        parts.append("\n".join([*lines, "}"]) + "\n")
    return "\n".join(parts)


def write() -> None:
    """Write the generated parts anew."""
    SUMMARIES.write_text(summaries(), encoding="utf-8")
    example_settings.FILE.write_text(example_settings.text(), encoding="utf-8")
    for name, make in PARTS.items():
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        head, found, tail = _PART.split(text)[0], _PART.search(text), _PART.split(text)[-1]
        assert found is not None, f"{name} has no generated part"
        path.write_text(f"{head}\n{make()}\n{tail}", encoding="utf-8")


if __name__ == "__main__":
    write()

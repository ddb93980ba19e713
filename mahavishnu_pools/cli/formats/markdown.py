"""For documents: GitHub's Markdown."""

from __future__ import annotations

import re

from mahavishnu_pools.cli.formats.cells import harmless, one_line, written
from mahavishnu_pools.cli.formats.interface import Block, Cell, Document, Fields, Note, State, Table, Text


class MarkdownFormat:
    """Writes the blocks with headings, lists and pipe tables; status words stand without signs."""

    def render(self, document: Document) -> str:
        """Return the blocks with an empty line between them."""
        return "\n\n".join("\n".join(_lines(block)) for block in document.blocks)


def _lines(block: Block) -> list[str]:
    match block:
        case Note():
            return [_escaped(one_line(harmless(block.text)))]
        case Fields():
            head = [f"### {block.title}", ""] if block.title else []
            return [*head, *(_item(label, cell) for label, cell in block.rows)]
        case Text():
            text = harmless(block.text)
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return [f"### {block.title}", "", fence, *text.splitlines(), fence]
        case Table():
            return _table(block)


def _item(label: str, cell: Cell) -> str:
    text = cell.word.upper() if isinstance(cell, State) else written(cell)
    first, *more = text.splitlines() or [""]
    return "\n".join([f"- **{label}:** {_escaped(first)}".rstrip(), *(f"  {_escaped(line)}" for line in more)])


def _table(table: Table) -> list[str]:
    shown = [index for index, column in enumerate(table.columns) if column.only != "table"]
    titles = [table.columns[index].title for index in shown]
    return [
        f"## {table.title}",
        "",
        f"| {' | '.join(titles)} |",
        "|" + "|".join("-" * (len(title) + 2) for title in titles) + "|",
        *(f"| {' | '.join(_escaped(one_line(written(row[index]))) for index in shown)} |" for row in table.rows),
    ]


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, inside a table too; identifiers such as ``pool_1`` stay readable."""
    return re.sub(r"([\\|`*<])", r"\\\1", text)

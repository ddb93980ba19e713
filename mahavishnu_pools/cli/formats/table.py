"""For people at a terminal: framed tables, labelled lines, a sign before every status."""

from __future__ import annotations

from mahavishnu_pools.cli.formats.cells import COLOURS, harmless, one_line, shortened, sign_of, width_of, written
from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table, Text


class TableFormat:
    """Writes the blocks. ``colour`` adds terminal colours; ``width`` is the terminal's (None: as wide as it gets)."""

    def __init__(self, *, colour: bool = False, width: int | None = None) -> None:
        self._colour = colour
        self._width = width

    def render(self, document: Document) -> str:
        """Return the blocks with an empty line before each table, text and titled list."""
        parts: list[str] = []
        for block in document.blocks:
            if parts and not isinstance(block, Note) and _title_of(block) is not None:
                parts.append("")
            parts.extend(self._lines(block))
        return "\n".join(parts)

    def _lines(self, block: Block) -> list[str]:
        match block:
            case Note():
                return [self._note(block)]
            case Fields():
                return self._fields(block)
            case Text():
                return [f"{block.title}:", *(f"  {line}" for line in harmless(block.text).splitlines())]
            case Table():
                return self._table(block)

    def _note(self, note: Note) -> str:
        if note.good is None:
            return harmless(note.text)
        return f"{self._painted('✓' if note.good else '✗')} {harmless(note.text)}"

    def _fields(self, fields: Fields) -> list[str]:
        indent = "  " if fields.indented or fields.title is not None else ""
        head = [f"{fields.title}:"] if fields.title is not None else []
        return [*head, *(f"{indent}{self._field(label, cell)}" for label, cell in fields.rows)]

    def _field(self, label: str, cell: Cell) -> str:
        if isinstance(cell, State):
            return f"{label}: {self._painted(sign_of(cell.word))} {cell.word.upper()}"
        lines = written(cell).splitlines() or [""]
        if len(lines) == 1:
            return f"{label}: {lines[0]}".rstrip()
        return "\n".join([f"{label}:", *(f"    {line}" for line in lines)])

    def _painted(self, sign: str) -> str:
        number = COLOURS.get(sign) if self._colour else None
        return sign if number is None else f"\x1b[{number}m{sign}\x1b[0m"

    def _table(self, table: Table) -> list[str]:
        shown = self._shown(table)
        columns = [table.columns[index] for index in shown]
        widths = self._widths(columns, [_wanted(table, index) for index in shown])
        body = [self._row([row[index] for index in shown], columns, widths) for row in table.rows]
        head = [_aligned(shortened(c.title, w), c, w) for c, w in zip(columns, widths, strict=True)]
        return [
            table.title,
            _rule("┏━┳┓", widths),
            f"┃ {' ┃ '.join(head)} ┃",
            _rule("┡━╇┩", widths),
            *body,
            _rule("└─┴┘", widths),
        ]

    def _row(self, cells: list[Cell], columns: list[Column], widths: list[int]) -> str:
        texts = []
        for cell, column, width in zip(cells, columns, widths, strict=True):
            text = _aligned(shortened(_text(cell), width), column, width)
            if isinstance(cell, State):
                text = text.replace(sign_of(cell.word), self._painted(sign_of(cell.word)), 1)
            texts.append(text)
        return f"│ {' │ '.join(texts)} │"

    def _shown(self, table: Table) -> list[int]:
        """Return the columns to show: without the spare ones that the terminal has no room for."""
        shown = [index for index, column in enumerate(table.columns) if column.only != "markdown"]
        spare = sorted((index for index in shown if table.columns[index].spare), key=lambda i: table.columns[i].spare)
        while spare and not self._fits([_least(table, index) for index in shown]):
            shown.remove(spare.pop())
        return shown

    def _widths(self, columns: list[Column], widths: list[int]) -> list[int]:
        """Return the widths, the widest column that may be shortened made narrower until the table fits."""
        widths = list(widths)
        may = [index for index, column in enumerate(columns) if not column.whole]
        while not self._fits(widths):
            wider = [index for index in may if widths[index] > columns[index].least]
            if not wider:
                break
            widths[max(wider, key=lambda index: widths[index])] -= 1
        return widths

    def _fits(self, widths: list[int]) -> bool:
        frame = 3 * len(widths) + 1
        return self._width is None or sum(widths) + frame <= self._width


def _wanted(table: Table, index: int) -> int:
    """Return how wide a column is when nothing is cut."""
    return max([width_of(table.columns[index].title), *(width_of(_text(row[index])) for row in table.rows)])


def _least(table: Table, index: int) -> int:
    """Return how narrow a column may become."""
    wanted = _wanted(table, index)
    return wanted if table.columns[index].whole else min(wanted, table.columns[index].least)


def _title_of(block: Table | Fields | Text) -> str | None:
    return block.title


def _text(cell: Cell) -> str:
    return f"{sign_of(cell.word)} {cell.word}" if isinstance(cell, State) else one_line(written(cell))


def _aligned(text: str, column: Column, width: int) -> str:
    space = " " * (width - width_of(text))
    return text + space if column.align == "left" else space + text


def _rule(signs: str, widths: list[int]) -> str:
    left, line, cross, right = tuple(signs)
    return left + cross.join(line * (width + 2) for width in widths) + right

"""What a command prints, as plain values, and what a format must do with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class State:
    """A status word; formats may put a sign before it."""

    word: str


#: What a table or a list of fields holds; None is "not known".
Cell = str | int | float | State | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. ``only`` limits it to one of the two formats for people; None is both.

    On a terminal that is too narrow ``spare`` columns are left out, the highest number first (0: never), and then all
    are shortened, to ``least`` characters at most, but those that are ``whole``, because somebody copies them (ids,
    addresses) or a part says nothing.
    """

    title: str
    align: Literal["left", "right"] = "left"
    only: Literal["table", "markdown"] | None = None
    whole: bool = False
    spare: int = 0
    least: int = 8


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; every row has one cell a column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """Labels and values, one a line. ``indented`` sets them in from the margin; under a title they always are."""

    title: str | None
    rows: tuple[tuple[str, Cell], ...]
    indented: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A line for people; ``good`` tells success (True) from failure (False), None is neither."""

    text: str
    good: bool | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A longer text under a title, printed as it is."""

    title: str
    text: str


Block = Table | Fields | Note | Text


@dataclass(frozen=True, slots=True)
class Document:
    """What a command prints: ``data`` for programs (JSON values), ``blocks`` for people."""

    data: Any
    blocks: tuple[Block, ...]


class Format(Protocol):
    """One way to write a document."""

    def render(self, document: Document) -> str:
        """Return the text, without a line end; must neither print nor look at the world."""
        ...

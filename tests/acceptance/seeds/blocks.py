"""Finds the fenced blocks of documents, and the command lines in those of a shell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its document, the line of its fence, its language and its text."""

    document: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True, slots=True)
class Line:
    """One command line, with what is typed into it (lines after ``>>>``)."""

    place: str
    text: str
    typed: tuple[str, ...] = ()


def blocks_of(directory: Path) -> Iterator[Block]:
    """Yield the blocks of all documents in a directory."""
    for path in sorted(directory.glob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            for found in _FENCE.finditer(text):
                line = text.count("\n", 0, found.start()) + 1
                yield Block(path.stem, line, found[1], found[2])


def lines_of(block: Block) -> Iterator[Line]:
    """Yield the command lines of a block: comments left out, lines that go on after a backslash put together."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    found: list[Line] = []
    for text in joined.splitlines():
        stripped = text.strip()
        if stripped.startswith(">>>"):
            last = found.pop()
            found.append(Line(last.place, last.text, (*last.typed, stripped.removeprefix(">>>").strip())))
        elif stripped and not stripped.startswith("#"):
            found.append(Line(block.place, stripped))
    yield from found

"""The code in the documents: fenced blocks, and the command lines in them."""

from __future__ import annotations

import ast
import re
import shlex
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: Blocks of these languages are for the shell; those of ``sh`` are run as they stand, those of ``console`` only parsed.
SHELL = ("sh", "console", "bash")

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"\A# (\S+\.(?:py|yaml))\n")
_SEPARATORS = {"|", "||", "&&", ";", "&"}


@dataclass(frozen=True)
class Block:
    """One fenced block; ``file`` is the name in its first line, if it has one there."""

    document: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        found = _FILE.match(self.text)
        return found.group(1) if found else None


def documents() -> list[Path]:
    """Return the documents for users."""
    pages, examples = sorted((ROOT / "docs").glob("*.md")), sorted((ROOT / "examples").rglob("*.md"))
    return [ROOT / "README.md", *pages, *examples]


def blocks(*names: str) -> list[Block]:
    """Return the blocks of documents (none named: of all) in their order."""
    chosen = [path for path in documents() if not names or name_of(path) in names]
    return [block for path in chosen for block in blocks_of(path)]


def blocks_of(path: Path) -> list[Block]:
    """Return the blocks of one document in their order."""
    found = _BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [Block(name_of(path), match.group(1), match.group(2)) for match in found]


def name_of(path: Path) -> str:
    """Return what a document is called in tests: its file name, below ``examples`` with the directory."""
    return f"{path.parent.name}/{path.name}" if (ROOT / "examples") in path.parents else path.name


async def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a Python block, in which ``await`` may stand, with what blocks before it have left in ``names``."""
    code = compile(block.text, block.document, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = types.FunctionType(code, names)()
    if waiting is not None:
        await waiting


def command_lines(text: str, *, program: str = "mahavishnu") -> Iterator[list[str]]:
    """Yield the arguments of every call of a program in a text for the shell."""
    for line in text.replace("\\\n", " ").splitlines():
        for inner in re.findall(r"\$\((.*?) \| ", line) or [line]:
            yield from _calls(inner, program)


def _calls(line: str, program: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "$:+,@{}%"
    call: list[str] | None = None
    for word in [*lexer, ";"]:
        if word in _SEPARATORS:
            if call is not None:
                yield call
            call = None
        elif call is not None:
            call.append(word)
        elif word == program:
            call = []

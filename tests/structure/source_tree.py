"""The files of this project, as git knows them, and their Python modules, parsed."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: str
    text: str
    tree: ast.Module

    @property
    def is_test(self) -> bool:
        """Tell whether the module belongs to the tests."""
        return self.path.startswith("tests/")

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Yield every function and method, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def classes(self) -> Iterator[ast.ClassDef]:
        """Yield every class, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node


@functools.cache
def tracked_files() -> tuple[str, ...]:
    """Return the paths of all regular files in git, relative to the root; empty outside a git checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [path for path in listed.split("\0") if path]
    return tuple(path for path in paths if (ROOT / path).is_file() and not (ROOT / path).is_symlink())


@functools.cache
def modules(*places: str) -> tuple[Module, ...]:
    """Return the Python modules in git whose paths begin with one of the places, all without any."""
    found = []
    for path in tracked_files():
        if path.endswith(".py") and path.startswith(places or ""):
            text = (ROOT / path).read_text(encoding="utf-8")
            found.append(Module(path=path, text=text, tree=ast.parse(text, filename=path)))
    return tuple(found)


def length(node: ast.stmt) -> int:
    """Return how many lines a function or class takes, decorators left out."""
    return (node.end_lineno or node.lineno) - node.lineno + 1

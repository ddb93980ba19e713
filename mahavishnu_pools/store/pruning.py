"""Takes from a Lua library what a script uses, and writes short functions out where they are called. Pure.

Redis runs all of a script's text at every call: each function of a library it carries is made anew, used or not. With
all of them an empty script cost the server ten times as much as one without.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_WORD = re.compile(r"[A-Za-z_]\w*")

#: What begins a definition: at the beginning of a line, as everything inside one is indented.
_DEFINITION = re.compile(r"^(?:local function (\w+)|function (\w+)|local ([\w, ]+))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition of a library: the names it defines, its text, the words in it."""

    names: frozenset[str]
    text: str
    words: frozenset[str]


def written_out(text: str, prefix: str, expression: Callable[[str, str], str]) -> str:
    """Replace every call of a function whose name begins with ``prefix`` by an expression.

    ``expression`` gets the rest of the name and the text of the arguments. What is no call (the function as a value,
    its definition) stays.
    """
    done, calls = 0, []
    for match in re.finditer(rf"(?<![\w.])(?<!function ){prefix}(\w+)\(", text):
        if match.start() < done:
            continue  # within the arguments of another call, which are written out by themselves
        end = _closing(text, match.end())
        inner = written_out(text[match.end() : end], prefix, expression)
        calls.append(text[done : match.start()] + expression(match[1], inner))
        done = end + 1
    return "".join(calls) + text[done:]


def _closing(text: str, start: int) -> int:
    """Return where the bracket ends that was opened before ``start``; brackets in quotes do not count."""
    depth, quote = 1, ""
    for at in range(start, len(text)):
        character = text[at]
        if quote:
            quote = "" if character == quote and text[at - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            return at
    raise ValueError(f"a bracket is not closed: {text[start - 40 : start + 40]!r}")


def definitions(library: str) -> tuple[Definition, ...]:
    """Return the definitions of a library.

    One begins with ``local`` or ``function`` at the beginning of a line and ends before the next one.
    """
    starts = list(_DEFINITION.finditer(library))
    ends = [match.start() for match in starts[1:]] + [len(library)]
    return tuple(_definition(match, library[match.start() : end]) for match, end in zip(starts, ends, strict=True))


def pruned(library: tuple[Definition, ...], body: str) -> str:
    """Return the text of those definitions, in their order, that the body needs.

    A word in a string or behind code in a comment counts as used, so too much is kept rather than too little.
    """
    wanted, used = _words(_without_comments(body)), set[int]()
    while True:
        more = [i for i, one in enumerate(library) if i not in used and not one.names.isdisjoint(wanted)]
        if not more:
            return "".join(one.text for i, one in enumerate(library) if i in used)
        used.update(more)
        wanted = wanted.union(*(library[i].words for i in more))


def _definition(match: re.Match[str], text: str) -> Definition:
    code = _without_comments(text)
    return Definition(frozenset(_WORD.findall(match[1] or match[2] or match[3])), code, _words(code))


def _words(code: str) -> frozenset[str]:
    return frozenset(_WORD.findall(code))


def _without_comments(text: str) -> str:
    """Return the text without lines that are comments as a whole."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--"))
